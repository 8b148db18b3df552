"""Text that a console draws point by point is read as it was drawn, by the font that QEMU's own BIOS has."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

import pytest

from runner.hosts.local import LocalHost
from steps.watch import drawn_text
from steps.watch.drawn_text import HEIGHT, WIDTH, Font, read
from steps.watch.pixels import Pixels

pytestmark = pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="qemu-system-x86 is not installed")

PANIC = "[    4.019372] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)"


@pytest.fixture(scope="module")
def font() -> Font:
    return drawn_text.font(LocalHost())


def drawn(font: Font, *lines: str, ink: bytes = b"\xaa\xaa\xaa", width: int = 800, height: int = 104) -> Pixels:
    """As a console does it, on black; what no line reaches to stays so."""
    # Of two that are drawn in two ways, Linux's, which come last.
    glyphs: Mapping[str, bytes] = {character: points for points, character in font.items()}
    rows = [bytearray(3 * width) for _ in range(height)]
    for number, line in enumerate(lines):
        for place, character in enumerate(line):
            for at, point in enumerate(glyphs[character]):
                if point:
                    left = 3 * (WIDTH * place + at % WIDTH)
                    rows[HEIGHT * number + at // WIDTH][left : left + 3] = ink
    return Pixels(width, height, b"".join(rows))


def test_every_character_is_read(font):
    everything = "".join(map(chr, range(0x21, 0x7F)))
    assert read(drawn(font, everything), font) == (everything,)
    of_the_bios = dict(list(font.items())[:95])
    assert read(drawn(of_the_bios, everything), font) == (everything,)
    assert len(font) > 95


@pytest.mark.parametrize(
    "ink", [b"\xff\xff\xff", b"\xaa\xaa\xaa", b"\xaa\0\0", b"\0\0\xaa"], ids=["white", "grey", "red", "blue"]
)
def test_text_is_read_in_whatever_colour_it_is(font, ink):
    assert read(drawn(font, "one", "", "  two", ink=ink), font) == ("one", "  two")


def test_a_character_of_another_font_is_left_open(font):
    picture = drawn(font, PANIC)
    rgb = bytearray(picture.rgb)
    rgb[3 * 5 : 3 * 8] = b"\xff" * 9  # above the bracket
    found = read(Pixels(picture.width, picture.height, bytes(rgb)), font)
    assert found == ("\ufffd" + PANIC[1:],)


def test_a_cursor_at_the_end_of_a_line_is_none_of_it(font):
    picture = drawn(font, "(initramfs) ")
    rgb = bytearray(picture.rgb)
    for row in (14, 15):
        left = 3 * (800 * row + WIDTH * 12)
        rgb[left : left + 3 * WIDTH] = b"\xaa" * (3 * WIDTH)
    assert read(Pixels(picture.width, picture.height, bytes(rgb)), font) == ("(initramfs)",)


def test_a_picture_is_no_text(font):
    across = bytes(x // 3 * 13 % 256 for x in range(3 * 800))
    assert read(Pixels(800, 600, across * 600), font) is None


def test_a_black_screen_is_blank(font):
    assert read(Pixels(640, 480, bytes(3 * 640 * 480)), font) == ()


def test_without_the_font_nothing_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(drawn_text, "_ROM", "absent.bin")
    assert drawn_text.font(LocalHost()) == {}
    assert drawn_text._font(b"\0" * 100) == {}
