"""Which pictures look like Windows's stop screen."""

from __future__ import annotations

import pytest

from steps.watch.pixels import Pixels
from steps.watch.stop_screen import is_one

BLUE, WHITE, BLACK, GREY = (0, 120, 215), (255, 255, 255), (0, 0, 0), (170, 170, 170)
Colour = tuple[int, int, int]


def drawn(width: int, height: int, background: Colour, *blocks: tuple[float, float, float, float, Colour]) -> Pixels:
    """Blocks are left, top, width and height, as parts of the picture."""
    rgb = bytearray(bytes(background) * (width * height))
    for left, top, across, down, colour in blocks:
        for line in range(int(top * height), int((top + down) * height)):
            at = 3 * (line * width + int(left * width))
            count = int(across * width)
            rgb[at : at + 3 * count] = bytes(colour) * count
    return Pixels(width, height, bytes(rgb))


def lines(
    left: float, width: float, count: int, colour: Colour = WHITE, top: float = 0.4
) -> list[tuple[float, float, float, float, Colour]]:
    """Of text: every second column of points is ink."""
    return [
        (left + width * letter / 40, top + 0.06 * line, width / 80, 0.025, colour)
        for line in range(count)
        for letter in range(40)
    ]


FACE = [(0.1, 0.15, 0.01, 0.03, WHITE), (0.1, 0.22, 0.01, 0.03, WHITE), (0.13, 0.13, 0.01, 0.14, WHITE)]
STOPS = {
    "Windows 10": drawn(1024, 768, BLUE, *FACE, *lines(0.1, 0.6, 5)),
    "Windows 8": drawn(1280, 720, (16, 114, 170), *FACE, *lines(0.1, 0.6, 4)),
    "Windows 7": drawn(640, 480, (0, 0, 128), *lines(0.01, 0.9, 14, top=0.1)),
    "Windows XP, grey": drawn(640, 480, (0, 0, 170), *lines(0.01, 0.9, 14, GREY, top=0.1)),
}
OTHERS = {
    "a black console": drawn(720, 400, BLACK, *lines(0.0, 0.9, 8, GREY)),
    "an update, in the middle": drawn(1024, 768, (0, 90, 158), *lines(0.4, 0.2, 3)),
    "blue and nothing on it": drawn(1024, 768, BLUE),
    "a desktop": drawn(1024, 768, BLUE, (0, 0.95, 1, 0.05, BLACK), (0.3, 0.2, 0.6, 0.6, WHITE), *lines(0.02, 0.1, 5)),
    "a desktop with a document": drawn(1024, 768, BLUE, (0.02, 0.2, 0.45, 0.8, WHITE)),
    "a desktop with a terminal": drawn(1024, 768, BLUE, (0.3, 0.2, 0.4, 0.6, BLACK), *lines(0.02, 0.1, 5)),
    "text in the middle": drawn(1024, 768, BLUE, *lines(0.25, 0.2, 5)),
    "text at the right": drawn(1024, 768, BLUE, (0.05, 0.1, 0.02, 0.02, WHITE), *lines(0.6, 0.3, 8)),
    "a menu on blue": drawn(640, 480, (0, 0, 170), (0.1, 0.2, 0.8, 0.6, GREY)),
    "green": drawn(1024, 768, (0, 128, 0), *FACE, *lines(0.1, 0.6, 5)),
    "white": drawn(1024, 768, WHITE, *lines(0.1, 0.6, 5, BLUE)),
    "a picture of one point": Pixels(1, 1, b"\0\0\xff"),
}


@pytest.mark.parametrize("picture", STOPS.values(), ids=STOPS)
def test_a_stop_screen_is_one(picture):
    assert is_one(picture)


@pytest.mark.parametrize("picture", OTHERS.values(), ids=OTHERS)
def test_what_is_something_else_is_none(picture):
    assert not is_one(picture)
