"""Runs the children of sets, and jobs at once: what becomes of each is shown, written down, remembered and
told at the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import JsonValue

from runner.app.estate import Estate
from runner.app.gone import Gone
from runner.app.open_set import Member, OpenSet, Which
from runner.app.options import Options
from runner.base.errors import LockedError, SendenseError, StateError, UsageError
from runner.cli.job_results import Ended, say_error
from runner.cli.several_outcome import Several, Unread, document_of_set
from runner.console.plain import Level
from runner.console.several import SeveralConsole
from runner.events.events import Event, Warned
from runner.events.journal import Journal
from runner.events.outcomes import ENDINGS, JobOutcome
from runner.events.progress import Waiting
from runner.job.model import Job
from runner.report.several import SeveralReports
from runner.sets.breaker import causes_of
from runner.sets.child_process import Said
from runner.sets.controller import Controller
from runner.sets.placement import ChildEnded, Placement, PlacementLostError, Told
from runner.step.registry import Registry

MakePlacement = Callable[[Told, Said], Placement]


@dataclass(frozen=True)
class Shown:
    """`report`: the directory of reports; `keeps_documents`: for JSON, else each is dropped once it was
    told."""

    level: Level
    report: Path | None
    keeps_documents: bool


def run_several(
    jobs: Sequence[Job | Unread],
    options: Options,
    which: Which,
    make_placement: MakePlacement,
    stop: threading.Event,
    shown: Shown,
    *,
    elsewhere: bool = False,
) -> Several:
    """`jobs`: also those that could not be read; `elsewhere`: they are placed on other machines."""
    found = Several()
    files = [Path(job.file) if isinstance(job, Job) else job[0] for job in jobs]
    heard = _Heard(found.warnings)
    with Estate(options, stop, [heard], which, elsewhere=elsewhere) as estate:
        opened = []
        for job, file in zip(jobs, files, strict=True):
            try:
                if not isinstance(job, Job):
                    raise job[1]
                if (one := estate.add(job)) is not None:
                    opened.append(one)
            except SendenseError as error:
                say_error(file, error, files)
                ended = Ended(file).but(error)
                found.ended.append(ended)
                found.codes.append(error.exit_code)
                found.causes.add(str(error), str(file))
        found.count = len(estate.members) + len(found.ended)
        if opened:
            found.noun = opened[0].noun if len({one.noun for one in opened}) == 1 else "item"
        running = _Running(found, estate, options, shown)
        running.run(opened, make_placement, stop, heard)
    found.ended.sort(key=lambda one: files.index(one.file))
    return found


class _Heard:
    """A listener to what the sets themselves warn of: all of it is in `texts`."""

    def __init__(self, texts: list[str]) -> None:
        self._texts = texts
        self._say: Callable[[str], None] | None = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, Warned):
            text = f"{event.node}: {event.text}"
            self._texts.append(text)
            if self._say is not None:
                self._say(text)

    def tell(self, say: Callable[[str], None]) -> None:
        """From now on at once."""
        self._say = say
        for text in self._texts:
            say(text)


class _Running:
    """Hears of each from the controller, and of their events from threads of the placement."""

    def __init__(self, found: Several, estate: Estate, options: Options, shown: Shown) -> None:
        self._found = found
        self._estate = estate
        self._shown = shown
        self._journal = None if options.events is None else _journal(options.events)
        self._admission = estate.admission()
        self._waited: dict[str, float] = {}
        self._lock = threading.Lock()
        members = estate.members
        waiting = {key: Waiting(one.expected, one.at_most) for key, one in members.items()}
        names = {key: one.called for key, one in members.items()}
        self._console = SeveralConsole(found.noun, waiting, names, level=shown.level)
        report_of = Registry.installed().report
        self._reports = None if shown.report is None else SeveralReports(shown.report, report_of)

    def run(
        self,
        opened: Sequence[OpenSet],
        make_placement: MakePlacement,
        stop: threading.Event,
        heard: _Heard,
    ) -> None:
        with self._console as console:
            heard.tell(console.note)
            for one in opened:
                self._tell_set(one)
            with self._admission as admission:
                placement = make_placement(self._told, console.said)
                try:
                    requests = self._estate.requests(placement.claims)
                    Controller(admission, placement, self._estate.order, self, stop).run(requests)
                except PlacementLostError as error:  # what is known is told all the same
                    console.note(str(error))
                    self._found.codes.append(error.exit_code)
                    self._found.causes.add(str(error), "")
                finally:
                    placement.close()
            for one in opened:
                self._note_errors(one.finish)
            self._write_index(opened)
            if self._journal is not None:
                self._journal.close()
                if self._journal.failure:
                    console.note(self._journal.failure)
            self._found.common = console.warnings

    def _write_index(self, opened: Sequence[OpenSet]) -> None:
        """Jobs that are no sets have reports of their own alone."""
        if (reports := self._reports) is not None and opened:
            title = ", ".join(one.job.name for one in opened)
            causes = self._found.causes.found
            self._note_errors(lambda: reports.write_index(title, self._found.noun, causes))

    def _told(self, key: str, event: dict[str, JsonValue]) -> None:
        with self._lock:
            if self._journal is not None:
                self._journal.line({"child": key, **event})
            if self._reports is not None:
                self._reports.told(key, event)
        self._admission.told(key, event)
        self._console.told(key, event)

    def started(self, key: str) -> None:
        # Of one that is started again, the first time.
        self._waited.setdefault(key, time.monotonic() - self._found.began)
        self._console.started(key)

    def again(self, ended: ChildEnded) -> None:
        self._console.again(ended.key, "; ".join(causes_of(ended.document)) or ended.error)

    def noted(self, text: str) -> None:
        self._console.note(text)

    def waits(self, what: str) -> None:
        self._console.waits(what)

    def ended(self, ended: ChildEnded) -> None:
        member = self._estate.members[ended.key]
        told = replace(_ended(member, ended), waited=self._waited.get(ended.key))
        assert told.exit_code is not None, "it ended"
        self._found.codes.append(told.exit_code)
        self._found.copied += told.details.get("bytes") or 0
        if told.exit_code:
            self._found.causes.add(_cause(ended, told), member.called)
        self._console.ended(ended.key, told.outcome, told.what, told.details.get("seconds"))
        document, code, error = told.document(), told.exit_code, told.error or ""
        self._note_errors(lambda: self._estate.ended(ended.key, document, code, error))
        if (reports := self._reports) is not None:
            with self._lock:
                summary = reports.summary(ended.key)
            self._note_errors(lambda: reports.ended(member.called, document, summary))
        held = {name: value for name, value in told.details.items() if name == "held"}
        kept = told if self._shown.keeps_documents else replace(told, details=held)
        self._found.ended.append(kept)

    def _note_errors(self, act: Callable[[], None]) -> None:
        """What cannot be remembered or reported changes nothing of what came of the work."""
        try:
            act()
        except SendenseError as error:
            self._console.note(str(error))

    def _tell_set(self, one: OpenSet) -> None:
        """What it chose, and what became of items that it no longer does."""
        found = one.selected
        assert found is not None, "an open set has chosen"
        for gone in one.gone:
            for text in _sentences(gone):
                self._console.note(text)
            if gone.error is not None:
                self._fail(f"what its run holds was not released: {gone.error}", gone.item.name)
        for rule, why in found.items.unfit.items():
            # Others may fit enough for `at-least`. One of `not:` that fits nothing takes nothing away.
            if not rule.startswith("not: "):
                self._warn(f"the rule '{rule}' of {one.job.name} fits no {found.noun}{why and f': {why}'}")
        for unread in found.items.unread:
            why = f"whether it is selected cannot be told: {unread.why}"
            self._console.note(f"{unread.item.path}: {why}")
            self._fail(why, unread.item.name)
        self._found.sets.append(document_of_set(one))

    def _warn(self, text: str) -> None:
        self._found.warnings.append(text)
        self._console.note(text)

    def _fail(self, why: str, name: str) -> None:
        self._found.codes.append(1)
        self._found.causes.add(why, name)


def _journal(file: Path) -> Journal:
    """Raises UsageError: nothing was begun yet, and who asked for it would learn of it after hours."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return Journal(file)
    except StateError as error:
        raise UsageError(error.message) from error
    except OSError as error:
        raise UsageError(f"{file} cannot be made: {error.strerror}") from error


def _ended(member: Member, ended: ChildEnded) -> Ended:
    """One that said nothing of its end was killed, or never begun."""
    file, called = Path(member.file), member.called if member.item is not None else ""
    item = "" if member.item is None else member.item.id
    if ended.document:
        told = Ended.told(file, {"exit_code": ended.exit_code, "summary": ended.error, **ended.document})
        return replace(told, called=called, item=item)
    outcome: JobOutcome = "interrupted" if ended.exit_code == 130 else "unfinished"
    return Ended(file, None, None, ended.exit_code, outcome, ended.error, ended.error, called, item)


def _cause(ended: ChildEnded, told: Ended) -> str:
    """What others may have failed at as well: first what they are known to share, else the sentence."""
    if shared := causes_of(ended.document):
        return next(f"{cause}: {why}" if why else cause for cause, why in shared.items())
    if told.exit_code == LockedError.exit_code:
        return "another run works on it, or has its snapshot on it: its own line names that run"
    otherwise = told.error or told.what or ENDINGS[told.outcome].word
    failures = told.details.get("failures") or [{"text": otherwise}]
    return str(failures[0]["text"])


def _sentences(gone: Gone) -> list[str]:
    told = [f"{gone.item.name}: {gone.why}"]
    told += [f"{gone.item.name}: released {what}" for what in gone.released]
    told += [f"{gone.item.name}: retained: {what}; `{command}` releases it" for what, command in gone.holds]
    return told
