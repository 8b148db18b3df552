import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.base.units import GiB, KiB, MiB, TiB
from steps.copy.extents import (
    BLOCK,
    NEAR,
    PART,
    WHOLE,
    WINDOW,
    Blocks,
    Extent,
    Piece,
    by_blocks,
    gaps,
    merge,
    overlay,
    ranges,
    windows,
    within,
)

SECTOR = 16 * KiB
"""Coarse, so that a disk of some blocks is some hundred sectors; four of them are a part."""


@st.composite
def layouts(draw, most=5 * BLOCK // SECTOR):
    """Extents of a disk and, by sector, whether it reads as zero."""
    runs = draw(st.lists(st.tuples(st.integers(1, 150), st.booleans()), min_size=1, max_size=20))
    sectors = [zero for length, zero in runs for _ in range(length)][:most]
    return [Extent(number * SECTOR, SECTOR, zero) for number, zero in enumerate(sectors)], sectors


def content_of(sectors):
    """By part, in one list for each block, whether any of it is content."""
    parts = [not all(sectors[at : at + 4]) for at in range(0, len(sectors), 4)]
    return [parts[at : at + 16] for at in range(0, len(parts), 16)]


def bits(mask, parts):
    assert mask < 1 << parts, "beyond the end there is nothing"
    return [bool(mask >> part & 1) for part in range(parts)]


@given(layouts())
def test_a_part_of_a_block_is_zero_only_if_all_of_it_is(layout):
    extents, sectors = layout
    size = len(sectors) * SECTOR
    runs = by_blocks(merge(extents), 0, size)
    expected = content_of(sectors)
    said = [
        bits(run.content, len(expected[offset // BLOCK]))
        for run in runs
        for offset in range(run.offset, run.end, BLOCK)
    ]
    assert said == expected
    assert all(run.offset % BLOCK == 0 for run in runs)
    assert [run.end for run in runs] == [*(run.offset for run in runs[1:]), size]
    assert all(one.content != other.content for one, other in itertools.pairwise(runs))


@given(layouts(), layouts())
def test_an_overlay_says_of_every_part_what_both_views_say(left, right):
    size = min(len(left[1]), len(right[1]))
    views = [by_blocks(side[0], 0, size * SECTOR) for side in (left, right)]
    pieces = overlay(*views)
    for side, name in ((left, "left"), (right, "right")):
        expected = content_of(side[1][:size])
        said = [
            bits(getattr(piece, name), len(expected[offset // BLOCK]))
            for piece in pieces
            for offset in range(piece.offset, piece.end, BLOCK)
        ]
        assert said == expected


@given(st.integers(0, WHOLE), st.integers(1, BLOCK))
def test_the_ranges_of_a_mask_are_its_parts_joined(mask, length):
    mask &= (1 << -(-length // PART)) - 1
    found = ranges(mask, length)
    inside = [any(start <= part * PART < end for start, end in found) for part in range(16)]
    assert inside == bits(mask, 16)
    assert all(start % PART == 0 and (end % PART == 0 or end == length) for start, end in found)
    assert all(one[1] < other[0] for one, other in itertools.pairwise(found))


@given(layouts())
def test_merged_extents_alternate_and_cover_the_same(layout):
    extents, sectors = layout
    merged = merge(extents)
    assert [one.zero for one in merged for _ in range(one.offset, one.end, SECTOR)] == sectors
    assert all(one.zero != other.zero for one, other in itertools.pairwise(merged))


def test_what_extents_leave_out_counts_as_content():
    assert by_blocks([Extent(2 * MiB, MiB, True), Extent(3 * MiB + PART, PART, True)], 0, 4 * MiB) == [
        Blocks(0, 2 * MiB, WHOLE),
        Blocks(2 * MiB, MiB, 0),
        Blocks(3 * MiB, MiB, WHOLE - 2),
    ]


def test_of_a_range_only_its_own_blocks_are_told():
    extents = [Extent(0, 3 * MiB + PART, True), Extent(3 * MiB + PART, 9 * MiB, False)]
    assert by_blocks(extents, 2 * MiB, 3 * MiB) == [
        Blocks(2 * MiB, MiB, 0),
        Blocks(3 * MiB, MiB, WHOLE - 1),
        Blocks(4 * MiB, MiB, WHOLE),
    ]


def test_a_short_last_block_has_only_the_parts_that_are_there():
    assert by_blocks([Extent(MiB, 512, True)], MiB, 512) == [Blocks(MiB, 512, 0)]
    assert by_blocks([Extent(MiB, 512, False)], MiB, 512) == [Blocks(MiB, 512, 1)]


def test_64_tib_of_one_kind_are_one_run():
    assert by_blocks([Extent(0, 64 * TiB, True)], 0, 64 * TiB) == [Blocks(0, 64 * TiB, 0)]
    assert by_blocks([Extent(0, 64 * TiB, False)], 0, 64 * TiB) == [Blocks(0, 64 * TiB, WHOLE)]


def test_views_of_different_lengths_are_a_bug():
    with pytest.raises(ValueError, match="ends before offset 2097152"):
        overlay([Blocks(0, 2 * MiB, 0)], [Blocks(0, MiB, 0)])


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
def test_what_of_pieces_lies_in_ranges_is_cut_to_them(content, wanted):
    pieces = [Piece(number, 1, int(one), WHOLE) for number, one in enumerate(content)]
    chosen = [(number, 1) for number, is_wanted in enumerate(wanted) if is_wanted and number < len(content)]
    whole = [Piece(0, len(content), 0, WHOLE)]
    assert list(within(pieces, chosen)) == [Piece(at, 1, int(content[at]), WHOLE) for at, _ in chosen]
    assert list(within(whole, chosen)) == [Piece(at, 1, 0, WHOLE) for at, _ in chosen]


def test_a_piece_is_split_at_a_length():
    piece = Piece(0, 3 * MiB, 5, WHOLE)
    assert piece.split(MiB) == (Piece(0, MiB, 5, WHOLE), Piece(MiB, 2 * MiB, 5, WHOLE))
    assert piece.split(3 * MiB) == (piece, None)
