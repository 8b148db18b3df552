from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TextIO

import pytest
from rich.console import Console as RichConsole

from runner.base.units import GiB, MiB
from runner.console.listener import Console
from runner.console.live import LiveFace
from runner.console.plain import Level
from runner.console.tables import print_table
from runner.events.events import (
    Bus,
    Event,
    GraphKnown,
    NodeFailed,
    NodeProgress,
    NodeRetrying,
    NodeStarted,
    NodeUndone,
    RunFinished,
    UndoFailed,
    Warned,
)
from runner.events.flow import Flow
from runner.events.fold import Fold, fold
from runner.events.step_report import Statement, StepReport
from runner.report.report import render_markdown
from tests.run_events import DISKS, FAILURE, RUN, START, Story, done_run, failed_run, report_of, resumed_run

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


DONE = "Done: pgtest1, full, 4.0 GiB copied, every block verified, 4 min 22 s, point pgtest1/20261123T170003Z-3f9a"


def told(events: list[Event], **options: object) -> str:
    """What a log gets of them."""
    stream = io.StringIO()
    with Console(report_of, stream=stream, **options) as console:
        for event in events:
            console(event)
    return stream.getvalue()


def lines_about(node: str, text: str) -> list[str]:
    return [line for line in text.splitlines() if f"  {node}  " in line]


class Terminal:
    """A pseudo-terminal of that size; `text` is what was written to it, without colours and cursor movements."""

    def __init__(self, columns: int, rows: int) -> None:
        self._main, child = pty.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.stream: TextIO = os.fdopen(child, "w", encoding="utf-8")
        self._pieces: list[bytes] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                piece = os.read(self._main, 65536)
            except OSError:  # EIO: the other side is closed
                return
            self._pieces.append(piece)

    def close(self) -> None:
        self.stream.close()
        self._reader.join(timeout=10)
        os.close(self._main)

    @property
    def raw(self) -> str:
        return b"".join(self._pieces).decode()

    @property
    def text(self) -> str:
        return ESCAPES.sub("", self.raw).replace("\r", "")


@contextmanager
def terminal(columns: int = 100, rows: int = 30) -> Iterator[Terminal]:
    opened = Terminal(columns, rows)
    try:
        yield opened
    finally:
        if not opened.stream.closed:
            opened.close()


# In a log


LAST = (
    "✗ Failed: pgtest1-nightly, 2 min 10 s, transfer[2001] failed, 2 of 23 nodes did not run; "
    "to resume: sendense run jobs/pgtest1.yaml\n"
)


def test_a_failure_ends_with_what_is_retained_and_then_the_outcome() -> None:
    text = told(failed_run())
    marks = [
        f"transfer[2001]  FAILED after 2 min 01 s: {FAILURE}",
        "verify[2001], publish  skipped: transfer[2001] failed",
        f"snapshot sendense-{RUN} of VM pgtest1",
        f"to release it: sendense sweep jobs/pgtest1.yaml --abandon {RUN}",
        f"{RUN}.partial",
        LAST,
    ]
    places = [text.index(mark) for mark in marks]
    assert places == sorted(places)
    assert text.endswith(LAST)


@pytest.mark.parametrize("level", ["quiet", "normal", "verbose"])
def test_in_a_log_each_trouble_is_told_once(level: Level) -> None:
    text = told(failed_run(), level=level)
    assert text.count(FAILURE) == 1
    assert text.count("the guest could not be quiesced") == 1


def test_where_something_must_be_fixed_first_nobody_is_told_to_resume() -> None:
    story = Story()
    story.quick("discover", 0.1)
    refused = "wrong user name or password: correct it"
    story.tell(NodeFailed, node="reserve", step="reserve", seconds=0.1, error=refused, exit_code=1, fix_first=True)
    text = told(story.end("failed", 1))
    assert text.endswith("; fix that first, then: sendense run jobs/pgtest1.yaml\n")
    assert "resume" not in text


def test_success_ends_with_what_was_made_the_disks_and_how_to_restore_them() -> None:
    text = told(done_run())
    assert "Restore point 20261123T170003Z-3f9a of pgtest1" in text
    for key in DISKS:
        assert re.search(rf"^ *{key} .* every block$", text, re.MULTILINE)
    assert text.endswith(f"\n✓ {DONE}\n")


def test_what_is_for_reports_is_not_on_the_screen() -> None:
    text = told(done_run())
    assert "qemu-img convert" not in text
    assert not re.search(r"[0-9a-f]{64}", text)
    assert "qemu-img convert" in render_markdown(fold(done_run(), report_of))


def test_quiet_is_the_last_line_where_nothing_went_wrong() -> None:
    events = [event for event in done_run() if not isinstance(event, Warned)]
    assert told(events, level="quiet") == f"✓ {DONE}\n"


def test_one_note_more_is_shown_where_it_would_be_told_of() -> None:
    def noting(step: str, output: object) -> StepReport:
        texts = [f"note {number}" for number in range(6)] if step == "publish" else []
        return StepReport(statements=tuple(Statement(about="noted", text=text) for text in texts))

    stream = io.StringIO()
    with Console(noting, stream=stream) as console:
        for event in done_run():
            console(event)
    assert "note 5" in stream.getvalue()
    assert "in the report" not in stream.getvalue()


def test_many_notes_do_not_push_the_result_off_the_screen() -> None:
    def noting(step: str, output: object) -> StepReport:
        return StepReport(statements=tuple(Statement(about="noted", text=f"note of {step}") for _ in range(10)))

    stream = io.StringIO()
    with Console(noting, stream=stream) as console:
        for event in done_run():
            console(event)
    assert stream.getvalue().count("  note of ") == 5
    assert re.search(r"\d+ more notes are in the report", stream.getvalue())


def test_each_node_has_its_line_and_closings_are_not_news() -> None:
    text = told(done_run())
    for node in ("discover", "snapshot", "image[2000]", "transfer[16000]", "publish"):
        assert len([line for line in lines_about(node, text) if " done after " in line]) == 1, node
    assert lines_about("tunnel[2000]", text) == [lines_about("tunnel[2000]", text)[0]]
    assert lines_about("snapshot", text)[-1].endswith("released: the run is done")


def test_a_resumed_run_says_so_and_what_it_keeps() -> None:
    text = told(resumed_run())
    assert f"pgtest1-nightly resumes run {RUN}" in text
    assert lines_about("transfer[2000]", text)[-1].endswith("reused: its record stands")


def test_no_line_of_a_log_holds_an_escape_sequence_or_is_wrapped() -> None:
    text = told(failed_run())
    assert "\x1b" not in text
    assert any(len(line) > 200 for line in text.splitlines())


@pytest.mark.parametrize("interval", [pytest.param(5.0, id="5 s"), pytest.param(60.0, id="60 s")])
def test_work_has_a_line_every_interval(interval: float) -> None:
    copying = [line for line in lines_about("transfer[2000]", told(done_run(), interval=interval)) if "copy" in line]
    # 40 GiB at 240 MiB/s take 171 s, in ticks of half a second.
    assert len(copying) == int(171 / interval)
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d  transfer\[2000\]  disk 2000: copy \d+ %, [\d.]+ GiB of 40.0 GiB, [\d.]+ MiB/s read, .* left",
        copying[0],
    )


def progress(seconds: float, done: int, total: int | None, **fields: int) -> NodeProgress:
    at = START + timedelta(seconds=seconds)
    return NodeProgress(at=at, node="transfer[2000]", label="disk 2000", phase="copy", done=done, total=total, **fields)


def test_more_than_all_is_never_shown() -> None:
    text = told([progress(0, 0, 100), progress(10, 130, 100)])
    assert "100 %, 100 B of 100 B" in text


def test_all_but_a_byte_is_not_all() -> None:
    assert "99 %" in told([progress(0, 0, 10**9), progress(10, 10**9 - 1, 10**9)])


def test_an_unknown_total_is_said_to_be_unknown() -> None:
    text = told([progress(0, 0, None), progress(10, 10 * MiB, None)])
    assert "copy 10.0 MiB of an unknown size, 1.0 MiB/s read\n" in text
    assert "%" not in text


def waited(done: int) -> NodeProgress:
    at = START + timedelta(seconds=done)
    return NodeProgress(at=at, node="drill", label="pgtest1", phase="watch", done=done, total=1200, noun="second")


def test_of_a_wait_it_is_told_how_long_it_may_take_and_nothing_is_forecast() -> None:
    assert told([waited(0), waited(10)]).endswith("  drill  pgtest1: watch 10.0 s of at most 20 min 00 s\n")


@pytest.mark.parametrize("columns", [80, 110])
def test_a_wait_on_a_terminal_has_its_time_and_no_forecast(columns: int) -> None:
    story = Story({})
    story.begin("drill")
    (line,) = [line for line in frame([*story.events, waited(0), waited(10)], columns) if "pgtest1 " in line]
    assert "10.0 s of 20 min 00 s" in line
    assert "%" not in line and "left" not in line


def test_quiet_tells_troubles_and_the_end_only() -> None:
    text = told(failed_run(), level="quiet")
    before = text[: text.index("Retained")].split("\n")
    assert [line.split("  ")[1] for line in before if "  " in line] == ["snapshot", "transfer[2001]"]
    assert text.endswith(LAST)


def test_verbose_tells_why_nodes_begin_and_what_is_closed() -> None:
    text = told(done_run(), level="verbose")
    assert "transfer[2000]  starts: not done yet" in text
    assert "tunnel[2000]  closed: no longer needed" in text


def test_names_from_elsewhere_cannot_rule_the_terminal() -> None:
    text = told([Warned(node="discover", text="VM \x1b[2J\x07evil\nname")])
    assert "VM \\x1b[2J\\x07evil name" in text


def test_a_closed_pipe_does_not_reach_the_engine() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    with Console(report_of, stream=stream) as console:
        for event in failed_run():
            console(event)
    with pytest.raises(BrokenPipeError):  # it was closed indeed
        stream.close()


# On a terminal


def frame(events: list[Event], columns: int = 100, rows: int = 40, *, later: float = 0.0) -> list[str]:
    """The live display as it stands after `events`, `later` seconds after the last."""
    face_stream = io.StringIO()
    fold = Fold(report_of)
    face = LiveFace(face_stream, fold, threading.RLock())
    for event in events:
        fold.add(event)
        face.tell(event)
    stream = io.StringIO()
    console = RichConsole(file=stream, width=columns, height=rows, force_terminal=False, highlight=False)
    now = events[-1].at + timedelta(seconds=later)
    console.print(face.frame(now, columns, rows))
    return stream.getvalue().rstrip("\n").split("\n")


def copying(disks: dict[str, int] = DISKS, share: float = 0.5) -> Story:
    story = Story(disks)
    story.head()
    for key in disks:
        story.begin(f"transfer[{key}]")
    story.bytes("transfer", "copy", dict.fromkeys(disks, 240 * MiB), until=share)
    return story


def test_steps_stand_in_order_and_disks_have_bars() -> None:
    lines = frame(copying().events)
    assert lines[0].startswith(f"pgtest1-nightly  run {RUN}")
    names = [line.split()[1] for line in lines[1:] if line[:3].strip()]
    assert names[:3] == ["discover", "reserve", "snapshot"]
    assert names[-3:-1] == ["publish", "cleanup"]  # the last line is a warning
    (bar,) = [line for line in lines if "disk 2000" in line]
    assert re.search(r"disk 2000 +━.* 50 % +20.0 GiB of 40.0 GiB +[\d.]+ MiB/s +.* left +copy", bar)
    assert lines[-1].startswith(" ! snapshot: the guest could not be quiesced")


@pytest.mark.parametrize(
    ("columns", "rows", "disks"),
    [
        pytest.param(80, 24, 2, id="80x24, 2 disks"),
        pytest.param(80, 24, 40, id="80x24, 40 disks"),
        pytest.param(120, 50, 24, id="120x50, 24 disks"),
        pytest.param(60, 10, 5, id="60x10, 5 disks"),
    ],
)
def test_the_display_fits_the_terminal_and_shows_what_moves(columns: int, rows: int, disks: int) -> None:
    lines = frame(copying({str(2000 + index): GiB for index in range(disks)}).events, columns, rows)
    assert len(lines) < rows
    assert max(len(line) for line in lines) <= columns
    bars = [line for line in lines if re.search(r"disk \d+ ", line)]
    assert len(bars) == disks or f"and {disks - len(bars)} more" in "\n".join(lines)
    assert bars


def test_a_stall_is_seen() -> None:
    (bar,) = [line for line in frame(copying().events, later=60.0) if "disk 2000" in line]
    assert " 0 B/s" in bar
    assert "left" not in bar


def test_what_a_disk_waits_for_is_said() -> None:
    story = copying()
    story.tell(NodeRetrying, node="transfer[2001]", error="the source closed the connection", wait=8.0, attempt=1)
    (line,) = [line for line in frame(story.events, later=3.0) if "disk 2001" in line]
    assert "retrying in 5.0 s: the source closed the connection" in line
    story.begin("transfer[2001]", attempt=2)
    (line,) = [line for line in frame(story.events) if "disk 2001" in line]
    assert "%" in line


def test_bytes_done_by_an_earlier_attempt_are_no_speed() -> None:
    flow = Flow(progress(0, 60 * MiB, 100 * MiB, skipped=60 * MiB))
    flow.add(progress(2, 64 * MiB, 100 * MiB, skipped=60 * MiB, data=4 * MiB))
    assert flow.speed(START + timedelta(seconds=2)) == pytest.approx(2 * MiB)
    assert flow.summary().speed == pytest.approx(2 * MiB)


def test_a_failed_disk_shows_its_sentence_while_others_go_on() -> None:
    story = copying()
    story.tell(NodeFailed, node="transfer[2001]", step="transfer", seconds=1.0, error="it broke", exit_code=1)
    lines = frame(story.events)
    assert any("✗ transfer" in line and "transfer[2001]: it broke" in line for line in lines)
    assert any("disk 2000" in line for line in lines)


@pytest.mark.parametrize(
    "events", [pytest.param([], id="nothing"), pytest.param([GraphKnown(nodes=(), edges=())], id="an empty graph")]
)
def test_a_display_of_nothing_is_one_line(events: list[Event]) -> None:
    assert len(frame([*events, Story().events[0]])) == 1


def test_a_terminal_gets_the_display_and_then_the_ending() -> None:
    with terminal() as screen:
        with Console(report_of, stream=screen.stream) as console:
            for event in failed_run():
                console(event)
        screen.close()
        assert "\x1b[?25h" in screen.raw  # the cursor is shown
        assert screen.text.endswith(LAST)
        end = screen.text[screen.text.index("✗ transfer[2001]: ") :]
        assert all(len(line) <= 100 for line in end.splitlines()[:-1])


def test_a_terminal_gets_a_warning_that_comes_after_the_ending() -> None:
    with terminal() as screen:
        with Console(report_of, stream=screen.stream) as console:
            for event in done_run():
                console(event)
            console(Warned(node="vcenter prod", text="could not be closed: no such session"))
        screen.close()
        assert "! vcenter prod: could not be closed: no such session" in screen.text


def test_sentences_are_broken_between_words_on_a_terminal() -> None:
    with terminal(60) as screen:
        with Console(report_of, stream=screen.stream) as console:
            for event in failed_run():
                console(event)
        screen.close()
        said = screen.text[screen.text.index("✗ transfer[2001]: reading") :]
        assert " ".join(said.split()).startswith(f"✗ transfer[2001]: {FAILURE}")


def test_a_command_that_ends_without_a_run_leaves_its_troubles_on_the_screen() -> None:
    with terminal() as screen:
        with Console(report_of, stream=screen.stream) as console:
            console(NodeUndone(node="image", step="create-qcow2", lifetime="keep", why="abandoned"))
            console(UndoFailed(node="snapshot", step="snapshot", error="the vCenter is gone"))
        screen.close()
        assert "cleanup of snapshot failed: the vCenter is gone" in screen.text


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with terminal() as screen:
        with Console(report_of, stream=screen.stream) as console:
            for event in done_run():
                console(event)
        screen.close()
        assert screen.text.endswith(f"✓ {DONE}\n")
        assert not re.search(r"\x1b\[[0-9;]*3[0-7][;m]", screen.raw)


def test_many_threads_may_tell_at_once() -> None:
    with terminal() as screen:
        bus = Bus()
        with Console(report_of, stream=screen.stream) as console:
            bus.subscribe(console)
            story = copying(share=0.01)
            for event in story.events:
                bus.emit(event)

            def tell(key: str) -> None:
                for done in range(2000):
                    node = f"transfer[{key}]"
                    bus.emit(NodeProgress(node=node, label=f"disk {key}", phase="again", done=done, total=2000))
                for number in range(20):
                    bus.emit(NodeStarted(node=f"new[{key},{number}]", step="new", lifetime="keep", why=""))

            threads = [threading.Thread(target=tell, args=(key,)) for key in DISKS]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(timeout=60)
            bus.emit(RunFinished(run=RUN, outcome="interrupted", exit_code=130, seconds=1.0))
        screen.close()
        assert "Interrupted:" in screen.text
        assert "Traceback" not in screen.text


# Tables

ROWS = [("image[2000]", "run", "40.0 GiB", "no record of it " * 5), ("tunnel[2000]", "open", "", "transfer needs it")]
COLUMNS = ("node", "what", "size", "why")


def test_a_table_for_programs_has_one_line_a_row() -> None:
    stream = io.StringIO()
    print_table("Plan", COLUMNS, ROWS, stream=stream)
    title, head, *lines = stream.getvalue().splitlines()
    assert title == "Plan"
    assert head.split() == list(COLUMNS)
    assert [line.split()[0] for line in lines] == ["image[2000]", "tunnel[2000]"]
    assert head.index("size") + len("size") == lines[0].index("40.0 GiB") + len("40.0 GiB")  # to the right


@pytest.mark.parametrize("columns", [pytest.param(80, id="80"), pytest.param(120, id="120")])
def test_a_table_fits_its_terminal_without_losing_a_word(columns: int) -> None:
    with terminal(columns) as screen:
        print_table("Plan", COLUMNS, ROWS, stream=screen.stream)
        screen.close()
        assert all(len(line) <= columns for line in screen.text.splitlines())
        assert screen.text.count("record") == 5
        assert "image[2000]" in screen.text


DISKS_COLUMNS = ("", "kind", "read", "data", "zero", "time", "speed", "BLAKE3", "Verified")
DISKS_ROW = (
    "2000",
    "incremental",
    "96.0 MiB",
    "77.0 MiB",
    "19.0 MiB",
    "0.1 s",
    "4.7 GiB/s",
    "04ff43791b6cab88…",
    "64 of 96 blocks",
)


@pytest.mark.parametrize("term", [pytest.param(term, id=term) for term in ("xterm", "dumb")])
@pytest.mark.parametrize("columns", [pytest.param(number, id=str(number)) for number in (40, 60, 80, 100, 120)])
def test_no_cell_of_a_table_is_cut_where_the_terminal_is_narrow(
    columns: int, term: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", term)
    with terminal(columns) as screen:
        print_table("Disks", DISKS_COLUMNS, [DISKS_ROW], stream=screen.stream)
        screen.close()
        assert all(len(line) <= columns for line in screen.text.splitlines())
        assert all(cell in screen.text for cell in DISKS_ROW)
        beside = screen.text.splitlines()[2].rstrip()
        assert beside.startswith("2000")
        assert (DISKS_ROW[-1] in beside) == (columns >= 100)
        assert (DISKS_ROW[-2] in beside) == (columns == 120)  # it goes before others do
        below = " ".join(screen.text.splitlines()[3:])
        assert ("Verified: 64 of 96 blocks" in below) == (columns < 100)


def test_a_long_sentence_that_has_no_room_beside_stands_below_its_line() -> None:
    row = ("20261123T170000Z-3f9a", "incr", "105.0 MiB", "77.0 MiB", "12 h", "SUSPECT: " + "disk 2000 differs, " * 6)
    with terminal(60) as screen:
        print_table("pgtest1", ("point", "kind", "on disk", "changed", "age", ""), [row, row], stream=screen.stream)
        screen.close()
        lines = screen.text.splitlines()
        assert len(lines) <= 10
        assert lines[3].startswith("    SUSPECT: disk 2000 differs, ")
        assert " ".join(screen.text.split()).count("disk 2000 differs") == 12


def test_a_dumb_terminal_is_told_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with terminal(60) as screen:
        with Console(report_of, stream=screen.stream) as console:
            for event in done_run():
                console(event)
        screen.close()
        assert lines_about("transfer[2000]", screen.text)
        assert "\x1b" not in screen.raw


def test_a_table_of_nothing_has_its_head() -> None:
    stream = io.StringIO()
    print_table("", COLUMNS, [], stream=stream)
    assert stream.getvalue().split() == list(COLUMNS)


def test_wide_characters_and_controls_keep_the_columns() -> None:
    stream = io.StringIO()
    print_table("", ("vm", "disks"), [("データベース", "2"), ("a\x1bb", "10")], stream=stream)
    assert stream.getvalue().splitlines() == ["vm            disks", "データベース      2", "a\\x1bb           10"]
