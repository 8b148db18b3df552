"""What a person would see on the console of a real QEMU, and for how long it has been so."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from steps.boot.errors import BootError
from steps.boot.running import Running
from steps.watch import drawn_text
from steps.watch.pixels import Pixels, changed, halved, pixels, png, size
from steps.watch.screen import KEPT, LARGEST, LONGEST, SOONEST, STILL, Screen
from tests.eventually import eventually
from tests.guests.boot_sectors import Deed, disk, sector
from tests.steps.watch.watched import request, waiting

needs_qemu = pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="qemu-system-x86 is not installed")


@contextmanager
def guest(directory: Path, deed: Deed, text: str = "") -> Iterator[Running]:
    """One that runs."""
    with waiting(directory, request(disk(directory / "disk.raw", sector(deed, text)))) as (_, running):
        running.monitor.execute("cont")
        yield running


def settled(screen: Screen, shows: str | None) -> float:
    """When it was looked at and showed that at the end; None: what a boot sector paints."""
    times = iter(range(0, 100_000, 1000))
    at = 0.0

    def is_there() -> bool:
        nonlocal at
        at = float(next(times))
        screen.look(at)
        if shows is None:
            return screen.lines is None and size(screen.picture or b"") == (640, 400)
        return bool(screen.lines and screen.lines[-1] == shows)

    assert eventually(is_there, 60), screen.lines
    return at


@needs_qemu
def test_a_text_console_is_read_line_by_line(tmp_path):
    with guest(tmp_path, "shows", "one\r\n\r\n  two\r\nlogin:") as running:
        screen = Screen(running)
        settled(screen, "login:")
        assert screen.lines == ("one", "  two", "login:")
        assert size(screen.picture or b"") == (720, 400)
        assert not any(name.startswith("screen.") for name in running.host.listdir(running.directory))


@needs_qemu
def test_a_console_that_shows_graphics_is_not_read(tmp_path):
    with guest(tmp_path, "paints") as running:
        screen = Screen(running)
        settled(screen, None)
        assert not screen.shows_stop_screen


@needs_qemu
def test_a_console_that_stays_as_it_is_is_looked_at_more_seldom(tmp_path):
    with guest(tmp_path, "shows", "still") as running:
        screen = Screen(running)
        at = settled(screen, "still")
        assert screen.changed_at == at
        looks = [now for now in range(int(at), int(at) + 90) if screen.look(float(now))]
        assert screen.changed_at == at
        pauses = [after - before for before, after in pairwise(looks)]
        assert pauses == sorted(pauses) and pauses[0] >= SOONEST and pauses[-1] == LONGEST


@needs_qemu
def test_a_console_that_cannot_be_looked_at_is_told_and_the_rest_goes_on(tmp_path):
    class Refuses:
        def execute(self, command: str, **_: object) -> None:
            raise BootError("QEMU refuses `screendump`: no console")

        def events(self) -> tuple[()]:
            return ()

    with guest(tmp_path, "hangs") as running:
        screen = Screen(replace(running, monitor=Refuses()))
        assert screen.look(0.0)
        assert screen.unreadable == "QEMU refuses `screendump`: no console"
        assert screen.picture is None and screen.kept() is None


def of(width: int, height: int, rgb: bytes) -> bytes:
    return b"P6\n%d %d\n255\n" % (width, height) + rgb


@pytest.mark.parametrize(
    "ppm",
    [
        b"",
        b"P6\n4 4\n255\n" + b"x" * 47,
        b"P6\n0 0\n255\n",
        b"P3\n1 1\n255\n000",
        b"P6\n99999 99999\n255\nxyz",
        b"\x89PNG",
    ],
    ids=["nothing", "too short", "empty", "another kind", "too large", "a PNG"],
)
def test_what_is_no_picture_is_none(ppm):
    assert pixels(ppm) is None


def test_a_blinking_cursor_is_no_change_and_a_line_of_text_is_one():
    before = Pixels(640, 400, bytes(3 * 640 * 400))
    cursor, line = bytearray(before.rgb), bytearray(before.rgb)
    cursor[: 3 * 8 * 2] = b"\xff" * (3 * 8 * 2)
    line[: 3 * 640 * 16] = b"\x01\0\0" * (640 * 16)
    assert changed(before, before) == 0
    assert 0 < changed(before, Pixels(640, 400, bytes(cursor))) < STILL
    assert changed(before, Pixels(640, 400, bytes(line))) == pytest.approx(16 / 400)
    assert changed(before, Pixels(400, 640, before.rgb)) == 1


def unpacked(picture: bytes) -> bytes:
    """The pixels of a PNG that `png` made."""
    at, packed = 8, b""
    while at < len(picture):
        (length,) = struct.unpack(">I", picture[at : at + 4])
        kind, content = picture[at + 4 : at + 8], picture[at + 8 : at + 8 + length]
        assert picture[at + 8 + length : at + 12 + length] == zlib.crc32(kind + content).to_bytes(4)
        packed += content if kind == b"IDAT" else b""
        at += 12 + length
    return zlib.decompress(packed)


def test_a_picture_is_halved_point_by_point():
    rgb = b"".join(bytes((x, y, 7)) for y in range(5) for x in range(7))
    small = halved(Pixels(7, 5, rgb))
    assert (small.width, small.height) == (3, 2)
    assert small.rgb == b"".join(bytes((x, y, 7)) for y in (0, 2) for x in (0, 2, 4))
    picture = png(small)
    assert size(picture) == (3, 2)
    assert unpacked(picture) == b"".join(b"\0" + small.rgb[at : at + 9] for at in (0, 9))


@needs_qemu
def test_a_picture_that_is_too_large_to_keep_is_made_smaller(tmp_path):
    noise = Pixels(1024, 768, random.Random(1).randbytes(3 * 1024 * 768))

    class Noisy:
        def execute(self, command: str, filename: str, **more: object) -> None:
            content = png(noise) if more["format"] == "png" else of(noise.width, noise.height, noise.rgb)
            Path(filename).write_bytes(content)

        def events(self) -> tuple[()]:
            return ()

    with guest(tmp_path, "hangs") as running:
        kept = Screen(replace(running, monitor=Noisy())).kept()
    assert kept is not None and len(kept) <= KEPT
    assert size(kept) == (512, 384)


@needs_qemu
def test_a_picture_of_a_hundred_megabytes_is_not_fetched(tmp_path):
    class Huge:
        def execute(self, command: str, filename: str, **_: object) -> None:
            subprocess.run(["truncate", "-s", str(LARGEST + 1), filename], check=True, timeout=10)

        def events(self) -> tuple[()]:
            return ()

    with guest(tmp_path, "hangs") as running:
        screen = Screen(replace(running, monitor=Huge()))
        screen.look(0.0)
        assert screen.picture is None and "bytes" in screen.unreadable
        assert not any(name.startswith("screen.") for name in running.host.listdir(running.directory))


@needs_qemu
def test_a_line_that_is_drawn_is_a_change_though_it_has_few_points(tmp_path):
    blank = Pixels(1280, 800, bytes(3 * 1280 * 800))
    shown = [blank]

    class Draws:
        def execute(self, command: str, filename: str, **more: object) -> None:
            now = shown[-1]
            content = png(now) if more["format"] == "png" else of(now.width, now.height, now.rgb)
            Path(filename).write_bytes(content)

        def events(self) -> tuple[()]:
            return ()

    with guest(tmp_path, "hangs") as running:
        screen = Screen(replace(running, monitor=Draws()))
        screen.look(0.0)
        glyph = {character: points for points, character in drawn_text.font(running.host).items()}["A"]
        rgb = bytearray(blank.rgb)
        for at, point in enumerate(glyph):
            rgb[3 * (1280 * (at // 8) + at % 8)] = 255 * point
        shown.append(Pixels(1280, 800, bytes(rgb)))
        assert changed(*shown) < STILL
        screen.look(100.0)
        assert (screen.lines, screen.changed_at) == (("A",), 100.0)
