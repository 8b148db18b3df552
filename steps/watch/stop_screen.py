"""Windows's stop screen, told by its picture alone: all of it one blue, white text that begins at its left.

Assumed, from pictures of Windows 8 to 11 (0, 120, 215 and the like) and of earlier ones (0, 0, 128). What is
left black or green (Windows 11 24H2, preview builds) is not told, since a console is black as well; a screen
that says how far an update is has its text in the middle.
"""

from __future__ import annotations

from collections import Counter

from steps.watch.pixels import Pixels

ACROSS = 160
DOWN = 120
"""Points that are looked at."""

_BOTH = 0.88
"""Part of the points that is background or text, the rest being edges of letters."""

_LEAST_TEXT, _MOST_TEXT = 0.005, 0.25
_LEFT = 0.2
"""Where the text begins, as part of the width."""


def is_one(picture: Pixels) -> bool:
    if picture.width < ACROSS or picture.height < DOWN:
        return False
    points = [
        (across, picture.at(across * picture.width // ACROSS, down * picture.height // DOWN))
        for down in range(DOWN)
        for across in range(ACROSS)
    ]
    background, count = Counter(colour for _, colour in points).most_common(1)[0]
    text = [across for across, colour in points if min(colour) >= 0xA8]
    return (
        _is_blue(*background)
        and count + len(text) >= _BOTH * len(points)
        and _LEAST_TEXT * len(points) <= len(text) <= _MOST_TEXT * len(points)
        and min(text) <= _LEFT * ACROSS
        and sum(across < ACROSS // 2 for across in text) > len(text) / 2
    )


def _is_blue(red: int, green: int, blue: int) -> bool:
    return blue >= 0x70 and red <= 0x40 and green <= 0.75 * blue
