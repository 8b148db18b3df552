"""Disks as they really are: odd keys, odd sizes, data at the edges; and targets that were swapped."""

import threading

import pytest
import yaml

from runner.app.options import Options
from runner.app.sweep import abandon_run
from runner.events.events import Event, NodeFinished
from runner.step.context import Context
from steps.backup.transfer import Transfer, TransferIn, TransferLive
from steps.values.copied import Copied
from tests.e2e.site import Site, disk, inventory

ODD = {
    "name": "odd: hardware, -disk1- ../é",
    "controllers": [
        {"key": 1000, "kind": "lsilogic-sas", "bus": 0},
        {"key": 1001, "kind": "pvscsi", "bus": 1},
        {"key": 15000, "kind": "sata", "bus": 0},
        {"key": 31000, "kind": "nvme", "bus": 0},
    ],
    "disks": [
        {"key": 2000, "controller": 1000, "unit": 0, "size": "1 MiB + 512 B", "content": {"pieces": [
            {"offset": 0, "length": 512, "seed": 1}, {"offset": -512, "length": 512, "seed": 2}]}},
        disk(2001, "8 MiB", 1, 3),
        {"key": 2016, "controller": 1001, "unit": 0, "size": "4 GiB + 1 MiB", "content": {"pieces": [
            {"offset": 0, "length": 512, "seed": 4}, {"offset": "3 GiB + 12 KiB", "length": "4 KiB", "seed": 5},
            {"offset": -512, "length": 512, "seed": 6}]}},
        disk(16000, "3 MiB", 0, 7, 15000),
        disk(32000, "2 MiB + 1 KiB", 0, 8, 31000),
    ],
}  # fmt: skip
"""The last sectors of one begin past 4 GiB: offsets that 32 bits do not hold. Over HTTPS every byte before them is read."""
PAIR = {"name": "pair", "disks": [disk(2000, "4 MiB", 0, 9), disk(2001, "4 MiB", 1, 10)]}
INVENTORY = inventory(ODD, PAIR)
KEYS = (2000, 2001, 2016, 16000, 32000)


def test_disks_of_odd_keys_and_sizes_are_byte_equal(site: Site):
    name = site.lab.record.vms[0].name
    ran = site.run(name)
    assert ran.exit_code == 0, ran.error
    (point,) = ran.points()
    assert sorted(path.name for path in point.glob("*.qcow2")) == sorted(f"disk-{key}.qcow2" for key in KEYS)
    assert site.images_equal_sources(name, point, KEYS)
    assert point.is_relative_to(site.repository)
    assert site.snapshots() == []


def swapped_job() -> list[dict]:
    text = """
    - {id: discover, uses: discover, with: {vcenter: lab, vm: pair}}
    - {id: snapshot, uses: snapshot, with: {vm: "${{ discover.vm }}"}}
    - {id: image-a, uses: create-qcow2, with: {vm: "${{ discover.vm }}", disk: "${{ discover.disks[0] }}", repository: main}}
    - {id: image-b, uses: create-qcow2, with: {vm: "${{ discover.vm }}", disk: "${{ discover.disks[1] }}", repository: main}}
    - {id: export-a, uses: start-nbd, with: {image: "${{ image-a }}"}}
    - {id: export-b, uses: start-nbd, with: {image: "${{ image-b }}"}}
    - {id: tunnel-a, uses: open-tunnel, with: {export: "${{ export-a }}"}}
    - {id: tunnel-b, uses: open-tunnel, with: {export: "${{ export-b }}"}}
    - {id: source-a, uses: open-source, with: {snapshot: "${{ snapshot }}", disk: "${{ discover.disks[0] }}"}}
    - {id: source-b, uses: open-source, with: {snapshot: "${{ snapshot }}", disk: "${{ discover.disks[1] }}"}}
    - {id: transfer-a, uses: transfer, with: {source: "${{ source-a }}", target: "${{ tunnel-b }}"}}
    - {id: transfer-b, uses: transfer, with: {source: "${{ source-b }}", target: "${{ tunnel-a }}"}}
    """
    return yaml.safe_load(text)


def test_swapped_targets_are_refused_before_byte_0_and_both_disks_are_named(site: Site):
    ran = site.run(site.write_job("swapped", swapped_job()))
    assert ran.exit_code == 1
    for node in ("transfer-a", "transfer-b"):
        assert "2000" in ran.failures()[node]
        assert "2001" in ran.failures()[node]
    for image in site.partials()[0].glob("*.qcow2"):
        assert image.stat().st_blocks * 512 < 512 * 1024, "something was written"
    assert len(site.snapshots()) == 1  # retained for the resume; abandoning releases it
    abandon_run(site.directory / "jobs" / "swapped.yaml", ran.result.run, Options(state=site.state))
    assert site.snapshots() == []
    assert site.partials() == []


def test_a_disk_is_verified_while_another_is_still_copied(site: Site, monkeypatch: pytest.MonkeyPatch):
    verified = threading.Event()
    copy = Transfer.run

    def late(self: Transfer, ctx: Context, inputs: TransferIn, live: TransferLive) -> Copied:
        assert live.source.disk_key == 2000 or verified.wait(60), "disk 2001 waits for its turn"
        return copy(self, ctx, inputs, live)

    def listen(event: Event) -> None:
        if isinstance(event, NodeFinished) and event.node == "verify[2000]":
            verified.set()

    monkeypatch.setattr(Transfer, "run", late)
    ran = site.run("pair", listen)
    assert ran.exit_code == 0, ran.error
    ended = [event.node for event in ran.events if isinstance(event, NodeFinished)]
    assert ended.index("verify[2000]") < ended.index("transfer[2001]") < ended.index("verify[2001]")
