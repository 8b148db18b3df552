"""release-brake: of one VM, and of a set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.base.units import GiB, MiB
from runner.cli import main
from steps.brake import released
from steps.repository import layout, reader
from steps.repository.manifest import Sampled, SetNight, dump
from tests.chain import FIRST, manifest_of
from tests.hub import Hub
from tests.trails import entries

pytestmark = pytest.mark.slow

NAMES = ("web1", "web2", "web3", "web4", "db1")
OF_SET = SetNight(set="gold", unusual=3, of=4)


def directory(hub: Hub, name: str) -> Path:
    return Path(hub.root) / layout.vm_directory(name, f"5013e3a5-9f10-4a5e-8b32-{NAMES.index(name):012d}")


@pytest.fixture
def gold(hub: Hub) -> Path:
    """The job of a set of four: web1 was published before most were known, web4 changed much itself. db1 is of another
    job."""
    for number, name in enumerate(NAMES):
        job = "nightly" if name == "db1" else f"gold/{name}-x"
        for night in range(5):
            last = night == 4
            size = 5 * GiB if last and name in ("web4", "db1") else 20 * MiB
            sampled = Sampled(changed=size, whole=False, blocks=20, incompressible=1)
            instance = f"5013e3a5-9f10-4a5e-8b32-{number:012d}"
            at = FIRST.replace(day=night + 1)
            made = manifest_of(night, at, {2000: None}, vm=name, instance=instance, sequence=night + 1, sampled=sampled)
            of_set = OF_SET if last and name not in ("web1", "db1") else None
            path = directory(hub, name) / made.point
            path.mkdir(parents=True)
            (path / layout.MANIFEST).write_bytes(dump(made.model_copy(update={"job": job, "of_set": of_set})))
            for key in (2000,):
                (path / layout.image(key)).write_bytes(b"-")
                (path / layout.digests(key)).write_bytes(b"-")
    site = hub.scratch / "site.yaml"
    site.write_text(
        "version: 1\nhosts: {hub: local}\nvcenters: {prod: {server: 127.0.0.1, username: u, password: {env: P}, tls: {ca: ca.pem}}}\n"
        f"repositories: {{main: {{host: hub, path: {hub.root}}}}}\n"
    )
    job = hub.scratch / "gold.yaml"
    job.write_text(
        "version: 1\nname: gold\ninclude: site.yaml\ntemplate: backup\nselect: {from: vcenters.prod}\n"
        "vars: {repository: main}\n"
    )
    return job


def release(job: Path, *words: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["release-brake", str(job), *words, "--reason", "patches"])
    return int(left.value.code or 0)


def released_of(hub: Hub) -> set[str]:
    return {name for name in NAMES if released.read(hub.host, str(directory(hub, name))) is not None}


def test_a_set_is_asked_for_as_a_whole(hub: Hub, gold: Path, capsys: pytest.CaptureFixture[str]):
    assert release(gold) == 2
    said = capsys.readouterr()
    assert "no brake was released" in said.err and not released_of(hub)
    shown = [line.split()[0] for line in said.out.splitlines() if line.startswith("web")]
    assert shown == ["web4", "web2", "web3"], "first what one changed itself"

    assert release(gold, "--yes") == 0
    assert "the brake of 3 VMs is released: patches" in capsys.readouterr().out
    assert released_of(hub) == {"web1", "web2", "web3", "web4"}, "also of whom others would put on hold next night"
    acts = {entry.vm.partition("-")[0]: entry.act for entry in entries(hub.root)}
    assert acts == dict.fromkeys(("web1", "web2", "web3", "web4"), "release-brake")
    assert release(gold, "--yes") == 2
    assert "the brake of each of the 4 VMs is not on: there is nothing to release" in capsys.readouterr().err


def test_who_is_named_is_released_alone(hub: Hub, gold: Path, capsys: pytest.CaptureFixture[str]):
    assert release(gold, "web2", "web1", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    newest = reader.read(hub.host, str(directory(hub, "web2"))).newest
    assert newest is not None
    (one,) = told["released"]
    assert (one["vm"], one["point"], told["errors"]) == ("web2", newest.point, [])
    assert "3 of 4 VMs of gold" in one["why"]
    assert released_of(hub) == {"web2"}


def test_a_site_releases_nobody_who_is_not_named(hub: Hub, gold: Path, capsys: pytest.CaptureFixture[str]):
    site = gold.with_name("site.yaml")
    assert release(site, "--yes") == 2
    assert "is for all VMs: name those whose brake is to be released, or give a set" in capsys.readouterr().err
    assert release(site, "db1") == 0
    assert released_of(hub) == {"db1"}
