from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbd
import pytest

from runner.base.units import MiB
from runner.events.events import NodeProgress
from runner.events.flow import Flow
from runner.hosts.host import Host
from steps.backup.verify import (
    CorruptImageError,
    DigestsDifferError,
    ImageDiffersError,
    Verify,
)
from steps.copy.compare import Compared
from steps.copy.digests import zero_digest
from steps.copy.extents import PART
from steps.qemu import img
from steps.readback.comparison import ImageReader, ReadBack
from steps.values.copied import Checked, Copied
from steps.values.image import Image
from steps.values.verified import Verified
from tests.hub import Hub
from tests.points import publish
from tests.transfers import CAPACITY, Guest, content, opened, transfer, verify, verify_inputs

pytestmark = pytest.mark.slow

STEP = Verify()
BLOCKS = 13
MARKER = "disk-2000.verified.json"


@pytest.fixture
def copied(hub: Hub, guest: Guest) -> Copied:
    return transfer(hub, guest.source(), hub.image(guest.disk))


def check(hub: Hub, copied: Copied, recorded: Verified | None, level: str = "full") -> Verified | None:
    return STEP.check(hub.context(), verify_inputs(copied, level), recorded)


def flip(image: Image, what: bytes) -> None:
    """One bit of the image file, where those bytes of the guest lie."""
    path = Path(image.path)
    whole = path.read_bytes()
    at = whole.index(what)
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes([whole[at] ^ 1]))


def marker(image: Image) -> Path:
    return Path(image.directory) / MARKER


def test_a_copied_disk_verifies_and_says_so_in_a_marker(any_hub: Hub, guest: Guest) -> None:
    copied = transfer(any_hub, guest.source(), any_hub.image(guest.disk))
    verified = verify(any_hub, copied)
    assert (verified.blocks, verified.compared, verified.leaks, verified.cached) == (BLOCKS, BLOCKS, 0, False)
    assert verified.copied == copied
    assert Verified.from_json_value(json.loads(marker(copied.image).read_text())["verified"]) == verified
    last = [event for event in any_hub.events if isinstance(event, NodeProgress)][-1]
    assert (last.label, last.phase, last.done, last.total) == ("disk 2000", "verify", CAPACITY, CAPACITY)
    flow = Flow(last)  # of a disk that is done within one report, nothing else is told
    assert flow.summary().moved == MiB + 2 * PART + 512, "a report says how much was read back"


def test_nothing_that_served_the_image_is_left_once_it_is_verified(any_hub: Hub, guest: Guest) -> None:
    copied = transfer(any_hub, guest.source(), any_hub.image(guest.disk))
    context = any_hub.context("verify")
    verify(any_hub, copied, context=context)
    assert context.children == []
    img.check(any_hub.host, copied.image.path)  # which needs the image for itself


def test_a_flipped_bit_names_disk_offset_and_both_digests_and_forgets_the_copy(hub: Hub, copied: Copied) -> None:
    verify(hub, copied)
    flip(copied.image, content(MiB)[:512])
    with pytest.raises(ImageDiffersError) as found:
        verify(hub, copied)
    error = found.value
    assert re.search(
        r"disk 2000 in .*disk-2000.qcow2 on hub differs at offset 0: BLAKE3 [0-9a-f]{64} .* [0-9a-f]{64} is",
        error.message,
    )
    assert "the next run copies the disk again" in error.message
    assert (error.exit_code, error.invalidates) == (5, ("copied",))
    assert error.details == {"offset": 0, "disk": 2000}
    assert not marker(copied.image).exists()
    assert check(hub, copied, None) is None


def test_the_copy_after_a_difference_heals_it(hub: Hub, guest: Guest, copied: Copied) -> None:
    flip(copied.image, content(MiB)[:512])
    with pytest.raises(ImageDiffersError):
        verify(hub, copied)
    again = transfer(hub, guest.source(), copied.image)
    assert verify(hub, again).compared == BLOCKS


@pytest.mark.parametrize(
    ("before", "blamed"),
    [
        pytest.param({"offset": 0, "disk": 2000}, True, id="same-place"),
        pytest.param({"offset": MiB, "disk": 2000}, False, id="another-offset"),
        pytest.param({"offset": 0, "disk": 2001}, False, id="another-disk"),
        pytest.param({}, False, id="no-difference-before"),
    ],
)
def test_a_second_difference_at_the_same_place_blames_the_storage_of_the_hub(
    hub: Hub, copied: Copied, before: dict[str, object], blamed: bool
) -> None:
    flip(copied.image, content(MiB)[:512])
    context = hub.context()
    context.previous_failure = before
    with pytest.raises(ImageDiffersError) as found:
        verify(hub, copied, context=context)
    assert ("the storage of host hub" in found.value.message) == blamed
    assert found.value.details == {"offset": 0, "disk": 2000}


def test_bytes_in_a_hole_are_a_difference(hub: Hub, copied: Copied) -> None:
    with opened(hub, copied.image) as (tunnel, _):
        _write_through(tunnel.uris[0], 9 * MiB, b"x" * 512)
    with pytest.raises(ImageDiffersError, match=f"differs at offset {9 * MiB}: BLAKE3 {zero_digest(MiB).hex()}"):
        verify(hub, copied)


def _write_through(uri: str, offset: int, what: bytes) -> None:
    handle = nbd.NBD()
    handle.connect_uri(uri)
    handle.pwrite(what, offset)
    handle.flush()
    handle.shutdown()


@pytest.mark.parametrize(("level", "compared"), [("full", BLOCKS), ("sample", BLOCKS), ("metadata", 0)])
def test_levels_say_how_much_was_compared(hub: Hub, copied: Copied, level: str, compared: int) -> None:
    verified = verify(hub, copied, level)
    assert (verified.level, verified.compared, verified.blocks) == (level, compared, BLOCKS)
    (row,) = STEP.report(verified).rows
    assert row.cells["Verified"].value == ("every block" if compared else "tables only")


@pytest.mark.parametrize(
    ("checked", "made"),
    [
        (None, "reading the source."),
        (Checked(unchanged=64, partly=4, of=4), "reading the source."),
        (Checked(unchanged=64, partly=16, of=20), "copying; of blocks that changed in part they cover"),
    ],
    ids=["full", "all read whole", "some patched"],
)
def test_the_report_says_whose_bytes_the_digests_were_made_of(
    hub: Hub, copied: Copied, checked: Checked | None, made: str
) -> None:
    verified = verify(hub, copied)
    verified = verified.model_copy(update={"copied": copied.model_copy(update={"checked": checked})})
    (said,) = STEP.report(verified).statements
    assert f"equal the BLAKE3 digests made while {made}" in said.text
    assert ("the parent's bytes between, which equal the parent's digest" in said.text) == ("copying" in made)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (1, "; all 1 blocks of 1 MiB that this run wrote and 1 of the 3 inherited ones were read back"),
        (0, "; 1 of the 4 blocks of 1 MiB, which are all inherited, were read back"),
    ],
    ids=["something", "nothing"],
)
def test_the_report_tells_what_was_written_from_what_was_inherited(
    hub: Hub, copied: Copied, written: int, words: str
) -> None:
    counts = {"blocks": 4, "compared": written + 1, "inherited": 1}
    (said,) = STEP.report(verify(hub, copied).model_copy(update=counts)).statements
    assert words in said.text


DIGEST_DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "changed": (lambda path: path.write_bytes(bytes(32) * BLOCKS), "BLAKE3 [0-9a-f]{64}, not [0-9a-f]{64}"),
    "shorter": (lambda path: path.write_bytes(bytes(32)), "has 32 bytes"),
    "gone": (lambda path: path.unlink(), "the file is gone"),
}


@pytest.mark.parametrize(("damage", "sentence"), DIGEST_DAMAGE.values(), ids=DIGEST_DAMAGE.keys())
@pytest.mark.parametrize("level", ["full", "metadata"])
def test_a_digests_file_that_is_not_the_one_written_is_a_difference(
    hub: Hub, copied: Copied, damage: Callable[[Path], object], sentence: str, level: str
) -> None:
    damage(Path(copied.digests))
    with pytest.raises(DigestsDifferError, match=sentence) as found:
        verify(hub, copied, level)
    assert (found.value.exit_code, found.value.invalidates) == (5, ("copied",))


def test_corrupt_tables_are_an_error_that_says_what_to_do(hub: Hub, copied: Copied) -> None:
    # The header's refcount table offset (qcow2 specification, bytes 48 to 55) leads to a table: its first block is made
    # to say that nothing is in use.
    with Path(copied.image.path).open("r+b") as file:
        file.seek(48)
        file.seek(int.from_bytes(file.read(8), "big"))
        block = int.from_bytes(file.read(8), "big")
        file.seek(block)
        file.write(bytes(64))
    with pytest.raises(
        CorruptImageError,
        match=r"finds \d+ corruptions .* image of disk 2000, .*: the image is recreated and copied again",
    ) as found:
        verify(hub, copied)
    assert (found.value.exit_code, found.value.invalidates) == (5, ("copied", "copied/target"))


def test_corrupt_tables_explain_what_reads_otherwise_though_both_are_looked_for_at_once(
    hub: Hub, copied: Copied, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are checked until the image was read: a difference that comes of them is not called the copy's."""
    flip(copied.image, content(MiB)[:512])
    read, read_back = threading.Event(), ImageReader.read_back

    def reading(self: ImageReader, *asked: Any) -> ReadBack:
        seen = read_back(self, *asked)
        assert seen.found.blocks
        read.set()
        return seen

    def check(host: Host, path: str, **_: object) -> img.CheckReport:
        assert read.wait(30)
        return img.CheckReport(corruptions=1)

    monkeypatch.setattr(ImageReader, "read_back", reading)
    monkeypatch.setattr(img, "check", check)
    monkeypatch.setattr(
        "steps.backup.verify._differs", lambda *_: pytest.fail("what was recorded of the copy is removed")
    )
    with pytest.raises(CorruptImageError):
        verify(hub, copied)


@pytest.mark.parametrize("damage", [damage for damage, _ in DIGEST_DAMAGE.values()], ids=DIGEST_DAMAGE.keys())
def test_corrupt_tables_explain_what_keeps_the_image_from_being_read(
    hub: Hub, copied: Copied, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], object]
) -> None:
    damage(Path(copied.digests))
    monkeypatch.setattr(img, "check", lambda host, path, **_: img.CheckReport(corruptions=1))
    with pytest.raises(CorruptImageError):
        verify(hub, copied)


def test_an_image_whose_tables_are_corrupt_is_not_read_to_its_end(
    hub: Hub, copied: Copied, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reading(self: ImageReader, *asked: Any) -> ReadBack:
        """As long as nobody says that it is of no use."""
        ends = time.monotonic() + 10
        while time.monotonic() < ends:
            self.tell(Compared(MiB, BLOCKS * MiB, MiB, 1.0))
        raise AssertionError("it reads on")

    monkeypatch.setattr(ImageReader, "read_back", reading)
    monkeypatch.setattr(img, "check", lambda host, path, **_: img.CheckReport(corruptions=1))
    with pytest.raises(CorruptImageError):
        verify(hub, copied)


def test_leaked_clusters_are_counted_and_no_error(hub: Hub, copied: Copied) -> None:
    with Path(copied.image.path).open("r+b") as file:
        file.seek(48)
        file.seek(int.from_bytes(file.read(8), "big"))
        block = int.from_bytes(file.read(8), "big")
        # The refcount of a cluster that nothing refers to, behind the last one of the file.
        file.seek(0, os.SEEK_END)
        cluster = -(-file.tell() // 65536)
        file.truncate((cluster + 1) * 65536)
        file.seek(block + cluster * 2)
        file.write((1).to_bytes(2, "big"))
    verified = verify(hub, copied)
    assert (verified.leaks, verified.compared) == (1, BLOCKS)
    noted = [said.text for said in STEP.report(verified).statements if said.about == "noted"]
    assert noted == ["Disk 2000: 1 leaked clusters waste space in its image; no byte of it is wrong."]


def test_check_believes_the_marker_with_and_without_a_record(any_hub: Hub, guest: Guest) -> None:
    copied = transfer(any_hub, guest.source(), any_hub.image(guest.disk))
    assert check(any_hub, copied, None) is None
    verified = verify(any_hub, copied)
    assert check(any_hub, copied, None) == verified
    assert check(any_hub, copied, verified) == verified
    assert check(any_hub, copied, None, "sample") is None


DAMAGE: dict[str, Callable[[Image], object]] = {
    "no-marker": lambda image: marker(image).unlink(),
    "a-damaged-marker": lambda image: marker(image).write_text("{"),
    "an-image-that-changed-in-time": lambda image: os.utime(image.path, (1, 1)),
    "an-image-that-changed-in-size": lambda image: os.truncate(image.path, Path(image.path).stat().st_size + 512),
    "no-image": lambda image: Path(image.path).unlink(),
    "no-digests": lambda image: (Path(image.directory) / "disk-2000.blake3").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_check_does_not_believe_what_the_world_denies(
    hub: Hub, copied: Copied, damage: Callable[[Image], object]
) -> None:
    verified = verify(hub, copied)
    damage(copied.image)
    assert check(hub, copied, verified) is None
    assert check(hub, copied, None) is None


def test_check_wants_the_very_copy_that_was_verified(hub: Hub, copied: Copied) -> None:
    verified = verify(hub, copied)
    assert check(hub, copied.model_copy(update={"digest": "0" * 64}), verified) is None


def test_check_stands_by_the_record_once_its_point_is_published(hub: Hub, copied: Copied, guest: Guest) -> None:
    verified = verify(hub, copied)
    publish(hub, guest.disk)
    assert check(hub, copied, verified) == verified


def test_undo_removes_the_marker(hub: Hub, copied: Copied) -> None:
    verified = verify(hub, copied)
    for _ in range(2):
        STEP.undo(hub.context(), verify_inputs(copied), verified)
    assert not marker(copied.image).exists()
