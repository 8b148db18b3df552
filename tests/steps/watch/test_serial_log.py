"""What a port says as a person reads it, in whatever pieces it comes; and what is kept of it."""

from __future__ import annotations

import pytest

from runner.base.units import KiB, MiB
from steps.watch.serial_log import HEAD, RECENT, TAIL, PlainText, SerialLog

COLOURED = b"\x1b[0m\x1b[30m\x1b[47mg\x1b[37m\x1b[40mrub\x1b]0;title\x07 \x1b(Bre\x1b[5;10Hscue\x1b[K>\x1b[6n"


def plain(*pieces: bytes) -> PlainText:
    text = PlainText()
    for at, piece in enumerate(pieces):
        text.add(piece, float(at))
    return text


def test_what_colours_it_and_moves_the_cursor_is_left_out():
    assert plain(COLOURED).recent == b"grub rescue>"


@pytest.mark.parametrize("length", [1, 2, 3, 7], ids="pieces of {}".format)
def test_it_reads_the_same_in_whatever_pieces_it_comes(length):
    pieces = [COLOURED[at : at + length] for at in range(0, len(COLOURED), length)]
    assert plain(*pieces).recent == b"grub rescue>"


def test_a_text_is_found_over_the_border_of_two_pieces():
    text = plain(b"pgtest1 lo", b"gin: ")
    at = text.find(b"login:", 0)
    assert at == 8
    assert text.line(at) == "pgtest1 login: "


def test_a_text_is_found_in_a_piece_that_is_longer_than_what_is_kept():
    text = plain(b"x" * RECENT, b"login:\n" + b"y" * MiB)
    assert text.find(b"login:", RECENT - 6) == RECENT
    assert len(plain(*[b"z" * MiB] * 3, b"").recent) <= MiB + RECENT


def test_an_escape_sequence_that_never_ends_hides_nothing_for_long():
    text = plain(b"\x1b]0;", b"a" * 400, b"login:")
    assert text.find(b"login:", 0) is not None


def test_lines_end_with_either_character_and_have_none_that_are_blank():
    assert plain(b"one\r\ntwo\rthree\n\n  \nfour\0\x07").lines(KiB) == ("one", "two", "three", "four")


def test_a_line_of_a_megabyte_is_looked_into_only_at_its_beginning():
    assert plain(b"a" * MiB).lines(16 * KiB) == ("a" * 512,)


def test_bytes_that_are_no_text_are_shown_and_break_nothing():
    assert plain(b"caf\xc3\xa9 \xff\xfe").lines(KiB) == ("café \ufffd\ufffd",)


def test_all_of_a_log_is_kept_while_it_is_short():
    log = SerialLog()
    log.add(b"a" * HEAD)
    log.add(b"b" * TAIL)
    assert log.content == b"a" * HEAD + b"b" * TAIL


def test_of_a_long_log_the_beginning_and_the_end_are_kept_and_the_cut_is_told():
    log = SerialLog()
    log.add(b"a" * (HEAD + 10))
    for _ in range(100):
        log.add(b"b" * 100 * KiB)
    log.add(b"the end")
    content = log.content
    cut = log.total - HEAD - TAIL
    assert content.startswith(b"a" * HEAD) and content.endswith(b"the end")
    assert f"[... {cut} bytes are left out here: the guest said {log.total} bytes ...]".encode() in content
    assert len(content) < HEAD + TAIL + 200
