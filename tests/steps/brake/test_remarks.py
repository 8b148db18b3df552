"""What `validate` says of retention that leaves the brake too little to compare with, by the files alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.job.load import load
from runner.step.registry import Registry

SITE = """
hosts: {store: {ssh: backup@store}}
vcenters: {prod: {server: vcenter, username: u, password: {env: X}, tls: {ca: ca.pem}}}
repositories:
  main: {host: store, path: /backup/repository}
  off: {host: store, path: /backup/off, brake: null}
"""


def said(tmp_path: Path, template: str, variables: str) -> list[str]:
    (tmp_path / "site.yaml").write_text(SITE)
    job = tmp_path / "job.yaml"
    job.write_text(f"version: 1\ninclude: site.yaml\ntemplate: {template}\nvars: {{{variables}}}\n")
    return [note.message for note in load(job, Registry.installed(), {}).notes]


@pytest.mark.parametrize(("rules", "most"), [("keep-last: 3", 3), ("keep-daily: 1, keep-weekly: 1", 2)], ids=str)
@pytest.mark.parametrize("template", ["backup", "prune"])
def test_too_few_points_to_compare_with_are_told(tmp_path: Path, template: str, rules: str, most: int) -> None:
    named = "vm: pg, vcenter: prod, " if template == "backup" else ""
    assert said(tmp_path, template, f"{named}repository: main, retention: {{{rules}}}") == [
        f"retention keeps at most {most} of a VM's restore points, too few for the brake to tell what is usual: keep 4 or "
        "more, or set `brake: null` for repository main"
    ]


@pytest.mark.parametrize(
    "variables",
    [
        "repository: main, retention: {keep-last: 4}",
        "repository: main, retention: {keep-last: 1, keep-monthly: 12}",
        "repository: main, retention: {max-chain: 3}",
        "repository: off, retention: {keep-last: 1}",
    ],
    ids=["enough", "old ones count", "no rule deletes", "no brake"],
)
def test_else_nothing_is(tmp_path: Path, variables: str) -> None:
    assert said(tmp_path, "prune", variables) == []
