"""What `validate` and plans say of a lock and the retention of a job, by the files alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.job.load import load
from runner.step.registry import Registry

SITE = """
hosts: {store: {ssh: backup@store}}
vcenters: {prod: {server: vcenter, username: u, password: {env: X}, tls: {ca: ca.pem}}}
repositories:
  main: {host: store, path: /backup/repository, lock: 30d}
  open: {host: store, path: /backup/open}
  offsite: {host: store, path: /backup/offsite, lock: 60d}
"""
BACKUP = "vm: pg, vcenter: prod, repository: main"
ENDLESS = (
    "repository main locks restore points for 30 days, and all that they are backed by as long: in a chain that only grows "
    "nothing is ever deleted; set full_every: {days: 30}"
)
COPIES = (
    "repository offsite locks restore points for 60 days, and each copy is backed by the one before it: none is ever deleted "
    "as long as copies are made; set flatten: monthly"
)
WAITS = "repository main locks restore points for 30 days: retention deletes none before that"
OF_LAST = "; those of a chain stay until its newest is unlocked"
DAYS = "full_every: {days: 30}"

CASES = {
    "a chain that only grows": ("backup", f"{BACKUP}, retention: {{keep-daily: 7}}", [ENDLESS]),
    "without retention, which another job may have": ("backup", BACKUP, [ENDLESS]),
    "incrementals alone": ("backup", f"{BACKUP}, mode: incremental, {DAYS}", [f"{ENDLESS} and mode: auto"]),
    "a full a month": (
        "backup",
        f"{BACKUP}, {DAYS}, retention: {{keep-daily: 7, keep-monthly: 12}}",
        [f"{WAITS}{OF_LAST}, some for 60 days"],
    ),
    "a full every so many": (
        "backup",
        f"{BACKUP}, full_every: {{points: 9}}, retention: {{keep-last: 7}}",
        [WAITS + OF_LAST],
    ),
    "fulls alone": ("backup", f"{BACKUP}, mode: full, retention: {{keep-last: 7}}", [WAITS]),
    "rules that keep longer": ("backup", f"{BACKUP}, {DAYS}, retention: {{keep-daily: 60}}", []),
    "no rule at all": ("backup", f"{BACKUP}, {DAYS}", []),
    "a repository without a lock": (
        "backup",
        "vm: pg, vcenter: prod, repository: open, retention: {keep-last: 4}",
        [],
    ),
    "copies at the end of a backup": ("backup", f"{BACKUP}, {DAYS}, copies: [{{to: offsite}}]", [COPIES]),
    "flattened copies": ("backup", f"{BACKUP}, {DAYS}, copies: [{{to: offsite, flatten: weekly}}]", []),
    "a job of copies": ("copy", "repository: open, to: offsite", [COPIES]),
    "a job of flattened copies": ("copy", "repository: open, to: offsite, flatten: monthly", []),
    "a job of retention": ("prune", "repository: main, retention: {keep-last: 4}", [WAITS + OF_LAST]),
    "a job of retention that keeps longer": ("prune", "repository: main, retention: {keep-daily: 31}", []),
}


@pytest.mark.parametrize(("template", "variables", "says"), CASES.values(), ids=CASES)
def test_what_a_lock_makes_of_retention_is_said_of_the_files_alone(
    tmp_path: Path, template: str, variables: str, says: list[str]
) -> None:
    (tmp_path / "site.yaml").write_text(SITE)
    job = tmp_path / "job.yaml"
    job.write_text(f"version: 1\ninclude: site.yaml\ntemplate: {template}\nvars: {{{variables}}}\n")
    notes = load(job, Registry.installed(), {}).notes
    assert [note.message for note in notes] == says
    # Where it was written, and else where the template is named.
    written = any(word in variables for word in ("retention", "full_every", "copies"))
    assert {(note.file, note.line) for note in notes} <= {(str(job), 3), *([(str(job), 4)] if written else [])}


def test_of_a_set_it_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(SITE)
    job = tmp_path / "job.yaml"
    job.write_text(
        "version: 1\nname: all\ninclude: site.yaml\ntemplate: backup\nselect: {from: vcenters.prod, any: [{name: '*'}]}\n"
        "vars: {repository: main}\n"
    )
    assert [note.message for note in load(job, Registry.installed(), {}).notes] == [ENDLESS]
