from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from blake3 import blake3

from runner.base.errors import Interrupted, StateError
from runner.base.units import GiB, MiB
from runner.events.events import NodeProgress
from steps.backup.transfer import SwappedTargetsError, Transfer, TransferIn, TransferLive
from steps.copy.endpoint import RequestFailed, Stalled
from steps.copy.extents import PART
from steps.copy.ledger import head_line, ranges_line, read_ledger
from steps.incremental.disk_ledger import DiskLedger
from steps.qemu import img
from steps.repository import layout
from steps.values.copied import Checked, Copied
from steps.values.image import Image
from tests.eventually import eventually
from tests.hub import CREATED, Hub, disk, tree
from tests.nbd_servers import Servers, raw
from tests.points import publish
from tests.transfers import CAPACITY, SNAPSHOT, Guest, content, opened, transfer

pytestmark = pytest.mark.slow

STEP = Transfer()


def check(hub: Hub, recorded: Copied | None) -> Copied | None:
    return STEP.check(hub.context(), TransferIn(), recorded)


def equal(image: Image, guest: Guest) -> bool:
    argv = ("qemu-img", "compare", "-f", "qcow2", "-F", "raw", image.path, str(guest.path))
    return subprocess.run(argv, capture_output=True, timeout=60, check=False).returncode == 0


def markers(image: Image) -> list[str]:
    return [name for name in layout.markers(image.disk.key) if (Path(image.directory) / name).exists()]


def test_a_disk_arrives_with_its_digests_and_a_marker(any_hub: Hub, guest: Guest) -> None:
    image = any_hub.image(guest.disk)
    copied = transfer(any_hub, guest.source(), image)
    assert equal(image, guest)
    entries = Path(copied.digests).read_bytes()
    assert copied.digests == f"{image.directory}/disk-2000.blake3"
    assert copied.digest == blake3(entries).hexdigest()
    blocks = [guest.path.read_bytes()[at : at + MiB] for at in range(0, CAPACITY, MiB)]
    expected = [blake3(block).digest() if any(block) else bytes(32) for block in blocks]
    assert entries == b"".join(expected)
    assert (copied.snapshot, copied.data, copied.zero) == (SNAPSHOT, 2 * MiB + 512, 10 * MiB)
    marker = json.loads((Path(image.directory) / "disk-2000.copied.json").read_text())
    assert Copied.from_json_value(marker) == copied
    assert all(oct(path.stat().st_mode & 0o777) == "0o600" for path in Path(image.directory).iterdir())


WRITTEN = MiB + 2 * PART + 512
"""Bytes of the guest's disk that hold content, and what shares their 64 KiB."""


def test_progress_is_told_by_disk_and_ends_at_the_capacity(hub: Hub, guest: Guest) -> None:
    transfer(hub, guest.source(), hub.image(guest.disk))
    last = [event for event in hub.events if isinstance(event, NodeProgress)][-1]
    assert (last.label, last.phase, last.done, last.total) == ("disk 2000", "copy", CAPACITY, CAPACITY)
    assert (last.data, last.zero, last.skipped) == (WRITTEN, 0, CAPACITY - WRITTEN)


def test_data_in_the_last_sector_of_5_gib_and_512_bytes_arrives(hub: Hub, servers: Servers, tmp_path: Path) -> None:
    guest = Guest(servers, tmp_path, disk(capacity=5 * GiB + 512))
    image = hub.image(guest.disk)
    copied = transfer(hub, guest.source(), image)
    assert equal(image, guest)
    assert copied.zero == 5 * GiB - 2 * MiB


SWAPS = {
    "another-key": {"key": 2001},
    "another-backing": {"backing_uuid": "6000C290-ffff"},
    "another-size": {"capacity": CAPACITY + 512},
}


@pytest.mark.parametrize("change", SWAPS.values(), ids=SWAPS.keys())
def test_swapped_targets_are_refused_with_both_named_and_nothing_written(
    hub: Hub, guest: Guest, change: dict[str, object]
) -> None:
    other = guest.disk.model_copy(update=change)
    image = hub.image(other)
    before = tree(Path(image.directory))
    with pytest.raises(SwappedTargetsError) as refused:
        transfer(hub, guest.source(), image)
    sentence = refused.value.message
    for part in ("swapped targets", "disk 2000", guest.disk.backing_uuid, f"disk {other.key}", other.backing_uuid):
        assert part in sentence
    assert sentence.endswith("nothing was written")
    assert tree(Path(image.directory)) == before
    assert not refused.value.transient


@pytest.mark.parametrize("side", ["source", "target"])
def test_an_export_of_another_size_than_the_model_says_is_refused(
    hub: Hub, servers: Servers, guest: Guest, tmp_path: Path, side: str
) -> None:
    """A forward that leads to another export than it was opened for."""
    strange = servers.qemu_nbd(raw(tmp_path / "strange.raw", CAPACITY + 512), "raw")
    image = hub.image(guest.disk)
    before = tree(Path(image.directory))
    with opened(hub, image) as (tunnel, _):
        source = guest.source()
        if side == "source":
            source = source.model_copy(update={"uris": (strange.uri,)})
        else:
            tunnel = tunnel.model_copy(update={"uris": (strange.uri,)})
        with pytest.raises(SwappedTargetsError, match=f"the {side}'s NBD export has {CAPACITY + 512} bytes"):
            STEP.run(hub.context(), TransferIn(), TransferLive(source=source, target=tunnel))
    assert tree(Path(image.directory)) == before
    assert not any((tmp_path / "strange.raw").read_bytes())


@pytest.mark.parametrize(
    "later",
    [
        pytest.param({"snapshot": "snapshot-32"}, id="of another number"),
        pytest.param({"created": CREATED + timedelta(hours=1)}, id="of a number given again"),
    ],
)
def test_a_copy_of_a_later_moment_reads_all_and_writes_what_differs(
    hub: Hub, guest: Guest, later: dict[str, object]
) -> None:
    image = hub.image(guest.disk)
    transfer(hub, guest.source(), image)
    guest.write(0, bytes(MiB))
    guest.write(3 * MiB, content(MiB, seed=4))
    hub.events.clear()
    copied = transfer(hub, guest.source().model_copy(update=later), image)
    assert equal(image, guest)
    assert copied.zero == 10 * MiB
    last = [event for event in hub.events if isinstance(event, NodeProgress)][-1]
    assert (last.data, last.zero) == (MiB, MiB)  # one block has become data, one has become zero


def test_a_moment_between_two_moments_is_not_skipped_over(hub: Hub, guest: Guest) -> None:
    """A block goes a → b → a over three snapshots, and the copy of b was written but is not in the ledger."""
    image = hub.image(guest.disk)
    before = guest.path.read_bytes()[:MiB]
    transfer(hub, guest.source(), image)
    guest.write(0, content(MiB, seed=9))
    transfer(hub, guest.source().model_copy(update={"snapshot": "snapshot-32"}), image)
    log = hub.context().log("disk-2000")
    lines = log.read().splitlines(keepends=True)
    log.cut(sum(map(len, lines[: [b"snapshot-32" in line for line in lines].index(True) + 1])))
    guest.write(0, before)
    transfer(hub, guest.source().model_copy(update={"snapshot": "snapshot-33"}), image)
    assert equal(image, guest)


def test_a_moment_of_which_no_flush_was_recorded_is_not_skipped_over(
    hub: Hub, guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block goes a → b → a, and the copy of b was killed between its first write and what it first recorded."""
    image = hub.image(guest.disk)
    before = guest.path.read_bytes()[:MiB]
    transfer(hub, guest.source(), image)
    guest.write(0, content(MiB, seed=9))
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(DiskLedger, "record", killed)
        transfer(hub, guest.source().model_copy(update={"snapshot": "snapshot-32"}), image)
    guest.write(0, before)
    transfer(hub, guest.source().model_copy(update={"snapshot": "snapshot-33"}), image)
    assert equal(image, guest)


class Killed(BaseException):
    """Nothing of ours handles it, as nothing handles SIGKILL."""


def killed(*_: object) -> None:
    raise Killed


def interrupted(hub: Hub, guest: Guest, image: Image, after: int) -> int:
    """A copy that is told to stop once `after` bytes are safe; returns how many bytes of data are by its ledger."""
    context = hub.context()
    wait = context.advanced.set

    class Stopping(threading.Event):
        def set(self) -> None:
            wait()
            ledger = read_ledger(context.log("disk-2000").read() or b"", "l")
            if ledger is None or sum(one.length for one in ledger.segments[-1].ranges) >= after:
                hub.stop.set()

    context.advanced = Stopping()
    source = guest.servers.nbdkit("-r", "--filter=rate", "file", str(guest.path), "rate=128M")
    with opened(hub, image) as (tunnel, _), pytest.raises(Interrupted):
        live = TransferLive(source=guest.source().model_copy(update={"uris": (source.uri,)}), target=tunnel)
        STEP.run(context, TransferIn.from_json_value({"window": 4 * MiB, "flush-interval": "0.1s"}), live)
    hub.stop.clear()
    reading = read_ledger(context.log("disk-2000").read() or b"", "l")
    assert reading is not None
    return sum(one.length for one in reading.segments[-1].ranges if one.digests)


@pytest.fixture
def large(servers: Servers, tmp_path: Path) -> Guest:
    guest = Guest(servers, tmp_path, disk(capacity=48 * MiB))
    guest.write(0, content(40 * MiB, seed=8))
    return guest


def test_an_interrupted_copy_goes_on_inside_the_disk(hub: Hub, large: Guest) -> None:
    image = hub.image(large.disk)
    safe = interrupted(hub, large, image, 20 * MiB)
    assert safe >= 8 * MiB
    hub.events.clear()
    copied = transfer(hub, large.source(), image)
    last = [event for event in hub.events if isinstance(event, NodeProgress)][-1]
    assert last.done == last.total == 48 * MiB
    assert last.data == 40 * MiB + PART - safe  # and the last sector
    assert equal(image, large)
    assert copied.data == 41 * MiB
    sampled = copied.sampled
    assert sampled is not None and 41 <= sampled.blocks <= 41 + 4, "of all that was written, a window of it twice"
    entries = Path(copied.digests).read_bytes()
    blocks = [large.path.read_bytes()[at : at + MiB] for at in range(0, 48 * MiB, MiB)]
    assert entries == b"".join(blake3(block).digest() if any(block) else bytes(32) for block in blocks)


@pytest.mark.parametrize("harm", ["image-damaged", "image-blank", "torn", "other-image"])
def test_a_ledger_that_is_not_true_is_not_believed(hub: Hub, large: Guest, harm: str) -> None:
    image = hub.image(large.disk)
    interrupted(hub, large, image, 20 * MiB)
    log = hub.context().log("disk-2000")
    if harm == "image-damaged":
        subprocess.run(["qemu-io", "-f", "qcow2", "-c", f"write -P 7 0 {20 * MiB}", image.path], check=True)
    elif harm == "image-blank":
        Path(image.path).unlink()
        img.create(hub.host, image.path, image.capacity)
    elif harm == "torn":
        content = log.read()
        assert content is not None
        log.cut(len(content) - 3)
    else:
        head = replace(read_ledger(log.read() or b"", "l").segments[0].head, image="elsewhere:/x")  # type: ignore[union-attr]
        ranges = read_ledger(log.read() or b"", "l").segments[0].ranges  # type: ignore[union-attr]
        log.remove()
        log.append(head_line(head) + ranges_line(ranges))
    transfer(hub, large.source(), image)
    assert equal(image, large)
    assert any("not trusted" in warning for warning in hub.warnings) == harm.startswith("image-")


def test_what_was_copied_of_a_snapshot_that_is_gone_is_looked_at_before_it_is_believed(hub: Hub, large: Guest) -> None:
    image = hub.image(large.disk)
    interrupted(hub, large, image, 20 * MiB)
    Path(image.path).unlink()
    img.create(hub.host, image.path, image.capacity)
    transfer(hub, large.source().model_copy(update={"snapshot": "snapshot-32"}), image)
    assert equal(image, large)
    assert any("not trusted" in warning for warning in hub.warnings)


def test_a_ledger_damaged_in_the_middle_is_refused_with_a_sentence(hub: Hub, large: Guest) -> None:
    image = hub.image(large.disk)
    interrupted(hub, large, image, 20 * MiB)
    path = Path(hub.context().log("disk-2000").path)
    text = bytearray(path.read_bytes())
    text[40] ^= 1
    path.write_bytes(text)
    with pytest.raises(StateError, match=r"damaged: remove the file"):
        transfer(hub, large.source(), image)


@pytest.mark.parametrize("fault", ["unreadable", "frozen", "stopped"])
def test_a_copy_that_fails_leaves_the_image_but_no_marker(hub: Hub, guest: Guest, tmp_path: Path, fault: str) -> None:
    image = hub.image(guest.disk)
    copied = transfer(hub, guest.source(), image)
    hub.context().log("disk-2000").remove()  # as if nothing had been recorded
    assert markers(image) == ["disk-2000.copied.json"]
    (Path(image.directory) / "disk-2000.verified.json").write_text("{}")
    context, source, how = hub.context(), guest.source(), {}
    if fault == "unreadable":
        expected, sentence = (
            RequestFailed,
            "source of disk 2000 failed: read of 128.0 KiB at offset 6750208: Input/output error",
        )
        (tmp_path / "map").write_text(f"0x0 + 1\n0x0 0x67f800 +\n0x67f800 0x200 -\n0x67fa00 {CAPACITY:#x} +\n")
        bad = guest.servers.nbdkit(
            "-r", "--filter=ddrescue", "file", str(guest.path), f"ddrescue-mapfile={tmp_path / 'map'}"
        )
        source = source.model_copy(update={"uris": (bad.uri,)})
    elif fault == "frozen":
        expected, sentence = Stalled, "no byte moved for 1.0 s: the copy waits for the source of disk 2000"
        how["stall-timeout"] = 1
        slow = guest.servers.nbdkit("-r", "--filter=delay", "file", str(guest.path), "rdelay=60")
        source = source.model_copy(update={"uris": (slow.uri,)})
    else:
        expected, sentence = Interrupted, "run the same command again to resume"
        hub.stop.clear()
    with opened(hub, image) as (tunnel, _), pytest.raises(expected, match=sentence):
        live = TransferLive(source=source, target=tunnel)
        if fault == "stopped":
            hub.stop.set()
        STEP.run(context, TransferIn.from_json_value(dict(how)), live)
    assert markers(image) == []
    assert Path(image.path).exists()
    hub.stop.clear()  # what looks now is another execution
    assert check(hub, copied) is None


def test_an_exporter_that_dies_is_a_transient_failure(hub: Hub, servers: Servers, tmp_path: Path) -> None:
    guest = Guest(servers, tmp_path, disk(capacity=64 * MiB))
    guest.write(0, content(64 * MiB))
    image = hub.image(guest.disk)
    with opened(hub, image) as (tunnel, holding):
        context = hub.context()
        pids = _pids_on(tunnel.uris[0])
        context.emit = lambda event: [_kill(pid) for pid in pids if isinstance(event, NodeProgress)]
        source = servers.nbdkit("-r", "--filter=rate", "file", str(guest.path), "rate=64M")
        live = TransferLive(source=guest.source().model_copy(update={"uris": (source.uri,)}), target=tunnel)
        with pytest.raises(RequestFailed, match=r"image of disk 2000 on hub failed: .*the connection broke") as failed:
            STEP.run(context, TransferIn(), live)
        assert failed.value.transient
        assert eventually(lambda: any(child.poll() is not None for child in holding.children))


def _pids_on(uri: str) -> list[int]:
    """The qemu-nbd that was told to serve that socket."""
    socket = uri.partition("socket=")[2]
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            argv = path.read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if argv[0] == b"qemu-nbd" and f"--socket={socket}".encode() in argv:
            found.append(int(path.parent.name))
    return found


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def test_extents_that_fail_are_read_and_said(hub: Hub, guest: Guest) -> None:
    script = (
        "eval",
        f"get_size=echo {CAPACITY}",
        f"pread=dd if={guest.path} skip=$4 count=$3 iflag=count_bytes,skip_bytes status=none",
        "can_extents=exit 0",
        "extents=echo EIO >&2; exit 1",
    )
    blind = guest.servers.nbdkit("-r", *script)
    image = hub.image(guest.disk)
    transfer(hub, guest.source().model_copy(update={"uris": (blind.uri,)}), image)
    assert equal(image, guest)
    assert hub.warnings == [f"disk 2000: the source gave no extents for {CAPACITY} bytes, which were read instead"]


def test_check_agrees_with_the_record_while_the_world_does(any_hub: Hub, guest: Guest) -> None:
    image = any_hub.image(guest.disk)
    copied = transfer(any_hub, guest.source(), image)
    assert check(any_hub, copied) == copied
    assert check(any_hub, None) is None
    with opened(any_hub, image):
        assert check(any_hub, copied) == copied


BREAKS = {
    "no-marker": lambda image: (Path(image.directory) / "disk-2000.copied.json").unlink(),
    "a-damaged-marker": lambda image: (Path(image.directory) / "disk-2000.copied.json").write_text("{"),
    "no-digests": lambda image: (Path(image.directory) / "disk-2000.blake3").unlink(),
    "short-digests": lambda image: (Path(image.directory) / "disk-2000.blake3").write_bytes(b"d" * 32),
    "no-image": lambda image: Path(image.path).unlink(),
}


@pytest.mark.parametrize("damage", BREAKS.values(), ids=BREAKS.keys())
def test_check_does_not_believe_a_record_that_the_world_denies(hub: Hub, guest: Guest, damage: object) -> None:
    image = hub.image(guest.disk)
    copied = transfer(hub, guest.source(), image)
    damage(image)
    assert check(hub, copied) is None


def test_check_believes_another_record_than_the_marker_not(hub: Hub, guest: Guest) -> None:
    copied = transfer(hub, guest.source(), hub.image(guest.disk))
    assert check(hub, copied.model_copy(update={"snapshot": "snapshot-32"})) is None


def test_check_stands_by_the_record_once_its_point_is_published(hub: Hub, guest: Guest) -> None:
    copied = transfer(hub, guest.source(), hub.image(guest.disk))
    publish(hub, guest.disk)
    assert not Path(copied.image.path).exists()
    assert check(hub, copied) == copied


def test_undo_removes_the_digests_and_the_marker(hub: Hub, guest: Guest) -> None:
    image = hub.image(guest.disk)
    copied = transfer(hub, guest.source(), image)
    for _ in range(2):
        STEP.undo(hub.context(), TransferIn(), copied)
    assert [path.name for path in Path(image.directory).iterdir()] == ["disk-2000.qcow2"]


def test_the_report_shows_a_line_by_disk(hub: Hub, guest: Guest) -> None:
    copied = transfer(hub, guest.source(), hub.image(guest.disk))
    (row,) = STEP.report(copied).rows
    assert (row.table, row.key) == ("Disks", "2000")
    assert {name: row.cells[name].value for name in ("Size", "Copied", "Content", "Zeroes", "BLAKE3")} == {
        "Size": CAPACITY,
        "Copied": 2 * MiB + 512,
        "Content": 2 * MiB + 512,
        "Zeroes": 10 * MiB,
        "BLAKE3": copied.digest,
    }


@pytest.mark.parametrize(
    ("of", "words"),
    [(32, "calls unchanged and 16 of 32 that it calls changed in part were read"), (0, "calls unchanged were read")],
    ids=["some", "none"],
)
def test_the_report_says_how_far_tracking_was_checked(hub: Hub, guest: Guest, of: int, words: str) -> None:
    copied = transfer(hub, guest.source(), hub.image(guest.disk))
    checked = Checked(unchanged=64, partly=min(of, 16), of=of)
    (said,) = STEP.report(copied.model_copy(update={"checked": checked})).statements
    assert f"64 blocks that it {words} whole." in said.text
