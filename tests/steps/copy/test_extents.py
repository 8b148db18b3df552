import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.base.units import GiB, MiB
from steps.copy.extents import BLOCK, NEAR, WINDOW, Extent, Piece, gaps, merge, overlay, whole_blocks, windows, within

SECTOR = BLOCK // 4
"""Coarse, so that a disk of some blocks is some dozen sectors."""


@st.composite
def layouts(draw, blocks=6):
    """Extents of a disk and, by sector, whether it reads as zero."""
    sectors = draw(st.lists(st.booleans(), min_size=1, max_size=blocks * 4))
    return [Extent(number * SECTOR, SECTOR, zero) for number, zero in enumerate(sectors)], sectors


@given(layouts())
def test_a_block_counts_as_zero_only_if_all_of_it_does(layout):
    extents, sectors = layout
    size = len(sectors) * SECTOR
    runs = whole_blocks(merge(extents), 0, size)
    assert sum(run.length for run in runs) == size
    by_block = {
        offset // BLOCK: run.zero for run in runs for offset in range(run.offset, run.end, BLOCK)
    }  # fmt: skip
    assert by_block == {block: all(sectors[block * 4 : block * 4 + 4]) for block in range(-(-size // BLOCK))}
    assert all(run.offset % BLOCK == 0 for run in runs)


@given(layouts(), layouts())
def test_an_overlay_says_of_every_byte_what_both_views_say(left, right):
    size = min(len(left[1]), len(right[1]))
    views = [merge(Extent(i * SECTOR, SECTOR, zero) for i, zero in enumerate(side[1][:size])) for side in (left, right)]
    pieces = overlay(*views)
    said = [
        (piece.left_zero, piece.right_zero) for piece in pieces for _ in range(piece.offset, piece.end, SECTOR)
    ]  # fmt: skip
    assert said == list(zip(left[1][:size], right[1][:size], strict=True))


@given(layouts())
def test_merged_extents_alternate_and_cover_the_same(layout):
    extents, sectors = layout
    merged = merge(extents)
    assert [one.zero for one in merged for _ in range(one.offset, one.end, SECTOR)] == sectors
    assert all(one.zero != other.zero for one, other in itertools.pairwise(merged))


def test_what_extents_leave_out_counts_as_content():
    assert whole_blocks([Extent(2 * MiB, MiB, True)], 0, 4 * MiB) == [
        Extent(0, 2 * MiB, False),
        Extent(2 * MiB, MiB, True),
        Extent(3 * MiB, MiB, False),
    ]


def test_a_short_last_block_can_be_zero():
    assert whole_blocks([Extent(MiB, 512, True)], MiB, 512) == [Extent(MiB, 512, True)]


def test_views_of_different_lengths_are_a_bug():
    with pytest.raises(ValueError, match="ends before offset 2048"):
        overlay([Extent(0, 2048, True)], [Extent(0, 1024, True)])


@pytest.mark.parametrize(
    ("done", "left"),
    [
        pytest.param([], [(0, 10)], id="nothing-done"),
        pytest.param([(0, 10)], [], id="all-done"),
        pytest.param([(6, 2), (0, 2)], [(2, 4), (8, 2)], id="out-of-order"),
        pytest.param([(0, 5), (3, 4)], [(7, 3)], id="overlapping"),
    ],
)
def test_gaps_are_what_is_not_done(done, left):
    assert gaps(10, done) == left


def test_windows_split_long_ranges_join_near_ones_and_fit_a_request():
    assert list(windows([(0, 3), (10, 1)], window=2)) == [[(0, 2)], [(2, 1)], [(10, 1)]]
    assert list(windows([(0, 1), (2, 2), (NEAR, 1), (2 * NEAR + 1, 1)])) == [
        [(0, 1), (2, 2), (NEAR, 1)],
        [(2 * NEAR + 1, 1)],
    ]
    assert 4 * GiB > WINDOW
    assert WINDOW % BLOCK == 0


@given(st.lists(st.booleans(), min_size=1, max_size=20), st.lists(st.booleans(), min_size=1, max_size=20))
def test_what_of_pieces_lies_in_ranges_is_cut_to_them(zeroes, wanted):
    pieces = overlay([Extent(number, 1, zero) for number, zero in enumerate(zeroes)], [Extent(0, len(zeroes), False)])
    ranges = [(number, 1) for number, is_wanted in enumerate(wanted) if is_wanted and number < len(zeroes)]
    whole = [Piece(0, len(zeroes), True, False)]
    assert list(within(pieces, ranges)) == [Piece(at, 1, zeroes[at], False) for at, _ in ranges]
    assert list(within(whole, ranges)) == [Piece(at, 1, True, False) for at, _ in ranges]


def test_a_piece_is_split_at_a_length():
    piece = Piece(0, 3 * MiB, True, False)
    assert piece.split(MiB) == (Piece(0, MiB, True, False), Piece(MiB, 2 * MiB, True, False))
    assert piece.split(3 * MiB) == (piece, None)
