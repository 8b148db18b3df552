"""A backup that copies its points into another repository once it is done, when that is due, and never to its own harm."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import yaml

from runner.base.units import MiB
from runner.events.events import NodeRetrying, Warned
from runner.hosts.host import Host
from runner.hosts.local import LocalHost
from runner.step.context import Context
from steps.copies import disk as disk_copy
from steps.copies import point
from steps.copy.engine import Tuning
from steps.copy.ledger import Flushed
from steps.incremental.disk_ledger import DiskLedger
from steps.lab.sshd import Sshd
from steps.qemu import img
from steps.repository import layout, marker
from steps.repository.manifest import dump, parse
from tests.estate import VM, Estate, disk, estate, inventory, machine, read, restored

pytestmark = pytest.mark.slow


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Estate]:
    with estate(tmp_path, {"prod": inventory(machine(disk(2000, "5 MiB")))}) as found:
        marker.init(LocalHost(), str(tmp_path / "offsite"))
        path = tmp_path / "site.yaml"
        document = yaml.safe_load(path.read_text())
        document["repositories"]["offsite"] = {"host": "local", "path": str(tmp_path / "offsite")}
        path.write_text(yaml.safe_dump(document))
        yield found


def copies(site: Estate) -> list[str]:
    return sorted(path.parent.name for path in site.repository("offsite").glob(f"*/*/{layout.MANIFEST}"))


def test_each_point_is_copied_after_its_backup_and_a_copy_that_fails_is_made_up_for(site: Estate) -> None:
    job = site.job(copies=[{"to": "offsite", "compress": "zstd", "flatten": "weekly"}], cbt="enable")
    first = site.backup(job)
    assert copies(site) == [first.name]
    away = site.repository("offsite").with_name("away")
    site.repository("offsite").rename(away)
    for made in (first, away / first.parent.name / first.name):
        age(made, timedelta(days=7))
    site.vcenter.write(VM, 2000, 4096, b"x" * 4096)
    second = site.backup(job, (told := []).append)
    assert any("was copied to offsite" in event.text for event in told if isinstance(event, Warned))
    away.rename(site.repository("offsite"))
    site.vcenter.write(VM, 2000, 9 << 19, b"y" * 4096)
    third = site.backup(job)
    assert copies(site) == sorted({first.name, second.name, third.name})
    kept = [site.repository("offsite") / first.parent.name / one.name for one in (first, second, third)]
    assert [read(copy).disks[0].parent for copy in kept] == [None, None, second.name], "flat once a week"
    infos = [img.info(LocalHost(), str(copy / layout.image(2000))) for copy in kept]
    assert {one.cluster_size for one in infos} == {img.COMPRESSED_CLUSTER}
    originals = [site.references[str(one), 2000].read_bytes() for one in (first, second, third)]
    shutil.rmtree(site.repository())
    shutil.rmtree(kept[0])
    for copy, original in zip(kept[1:], originals[1:], strict=True):
        assert restored(copy, 2000, site.directory / "raw") == original, "by qemu-img alone"


def age(directory: Path, by: timedelta) -> None:
    """As if it had been made so long before."""
    file = directory / layout.MANIFEST
    made = parse(file.read_bytes(), str(file))
    assert made.stored is not None
    earlier = {"created": made.created - by, "published": made.published - by, "stored": made.stored - by}
    file.write_bytes(dump(made.model_copy(update=earlier)))


def test_a_copy_is_not_made_again_before_it_is_due(site: Estate) -> None:
    job = site.job(copies=[{"to": "offsite", "when": "monthly"}])
    first = site.backup(job)
    site.backup(job)
    assert copies(site) == [first.name]


@pytest.fixture
def away(tmp_path: Path) -> Iterator[dict[str, Sshd]]:
    """Hosts of two more repositories, named as these."""
    servers = {name: Sshd(tmp_path / f"{name}-host") for name in ("lost", "shaken")}
    for server in servers.values():
        server.start()
    yield servers
    for server in servers.values():
        server.stop()


def test_a_copy_whose_host_is_lost_resumes_and_one_whose_host_stays_away_keeps_no_other_from_its_own(
    site: Estate, away: dict[str, Sshd], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = site.directory / "site.yaml"
    document = yaml.safe_load(path.read_text())
    document["hosts"] = {name: server.spec.model_dump(mode="json", by_alias=True) for name, server in away.items()}
    for name in away:
        marker.init(LocalHost(), str(site.repository(name)))
        document["repositories"][name] = {"host": name, "path": str(site.repository(name))}
    path.write_text(yaml.safe_dump(document))
    site.vcenter.write(VM, 2000, 0, bytes(range(1, 201)) * (5 * MiB // 200))
    hold, record, shaken = point.hold, DiskLedger.record, []

    def lose(ctx: Context, host: Host, *words: str) -> str:
        held = hold(ctx, host, *words)
        if host.name == "lost":
            away["lost"].stop()
        return held

    def shake(ledger: DiskLedger, ranges: Sequence[Flushed]) -> None:
        record(ledger, ranges)
        if "/shaken/" in ledger._head.image and not shaken:
            shaken.append(ledger._head)
            away["shaken"].drop_connections()

    monkeypatch.setattr(point, "hold", lose)
    monkeypatch.setattr(disk_copy, "copy", partial(disk_copy.copy, tuning=Tuning(window=MiB)))  # many a FLUSH
    monkeypatch.setattr(DiskLedger, "record", shake)
    ran = site.run(site.job(copies=[{"to": "lost"}, {"to": "shaken"}]))
    assert ran.exit_code == 0
    (made,) = ran.points()
    (warning,) = [event.text for event in ran.events if isinstance(event, Warned) and "was copied to" in event.text]
    assert "to lost" in warning
    assert [event.node for event in ran.events if isinstance(event, NodeRetrying)] == ["copies"], "it had not begun"
    copy = site.repository("shaken") / made.parent.name / made.name
    assert restored(copy, 2000, site.directory / "raw") == site.vcenter.read(VM, 2000, 0, 5 * MiB)
