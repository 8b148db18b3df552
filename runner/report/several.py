"""Reports of many jobs at once: each has its own, and an index leads to them, with a row for each
(index.html, index.md) and a case for each (junit.xml). What is kept until the end is a row."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from runner import __version__
from runner.base.errors import StateError
from runner.base.printable import printable
from runner.base.render import render_report
from runner.base.slug import slug
from runner.base.units import human_bytes, human_seconds
from runner.events.fold import Fold
from runner.events.journal import event_of
from runner.events.outcomes import ENDINGS, JobOutcome
from runner.events.several import Cause, headline
from runner.events.step_report import ReportOf
from runner.events.summary import RunSummary
from runner.hosts import files
from runner.report import markdown
from runner.report.labels import Fact
from runner.report.report import write_reports


@dataclass(frozen=True, slots=True)
class Row:
    """Of one job. `link`: of its own report, relative to the index; empty where it has none."""

    name: str
    outcome: JobOutcome
    what: str
    seconds: float | None
    bytes: int | None
    link: str


class SeveralReports:
    """Takes events of many jobs; of those that run it remembers what their reports are made of."""

    def __init__(self, directory: Path, report_of: ReportOf) -> None:
        self._directory = directory
        self._report_of = report_of
        self._folds: dict[str, Fold] = {}
        self._began = datetime.now(UTC)
        self.rows: list[Row] = []

    def told(self, key: str, event: Mapping[str, Any]) -> None:
        fold = self._folds.setdefault(key, Fold(self._report_of))
        fold.add(event_of(json.dumps(event)))

    def summary(self, key: str) -> RunSummary | None:
        """Of one that has ended, whose events are forgotten by that; None where it made no run."""
        fold = self._folds.pop(key, None)
        return fold.summary() if fold is not None and fold.started is not None else None

    def ended(self, name: str, document: Mapping[str, Any], summary: RunSummary | None) -> None:
        """Writes its report. Raises StateError; its row is there all the same."""
        directory = "" if summary is None else f"{slug(name)}-{summary.run}"
        self.rows.append(
            Row(
                name,
                document["outcome"],
                document["summary"],
                document.get("seconds"),
                document.get("bytes"),
                f"{directory}/report.html" if directory else "",
            )
        )
        if summary is not None:
            write_reports(summary, self._directory / directory)

    def write_index(self, title: str, noun: str, causes: Sequence[Cause]) -> None:
        """Raises StateError."""
        rows = sorted(self.rows, key=lambda row: (ENDINGS[row.outcome].exit_codes == (0,), row.name))
        values = self._values(title, noun, causes, rows)
        contents = {
            "index.html": "\n".join(map(printable, render_report("several.html.j2", values).split("\n"))),
            "index.md": render_report("several.md.j2", values | {"md": markdown.plain}),
            "junit.xml": self._junit(title, noun, rows),
        }
        try:
            for name, content in contents.items():
                files.write(str(self._directory / name), content.encode())
        except OSError as error:
            raise StateError(f"cannot write the index to {self._directory}: {error.strerror}") from error

    def _values(
        self, title: str, noun: str, causes: Sequence[Cause], rows: Sequence[Row]
    ) -> dict[str, object]:
        done = sum(ENDINGS[row.outcome].exit_codes == (0,) for row in rows)
        seconds = (datetime.now(UTC) - self._began).total_seconds()
        copied = sum(row.bytes or 0 for row in rows)
        return {
            "version": __version__,
            "graph": None,
            "title": title,
            "noun": noun,
            "tone": "done" if done == len(rows) and not causes else "failed",
            "line": headline(done, len(rows), noun),
            "figures": [
                Fact("Took", human_seconds(seconds)),
                Fact("Copied", human_bytes(copied)),
                Fact("Done", f"{done:,} of {len(rows):,}"),
                Fact("Began", f"{self._began:%Y-%m-%d %H:%M:%S}"),
            ],
            "causes": [
                {"count": cause.counted(noun), "why": cause.why, "which": cause.which} for cause in causes
            ],
            "rows": [_cells(row) for row in rows],
        }

    def _junit(self, title: str, noun: str, rows: Sequence[Row]) -> str:
        suite = ElementTree.Element("testsuite", name=printable(title), tests=str(len(rows)))
        for row in rows:
            case = ElementTree.SubElement(
                suite,
                "testcase",
                classname=printable(noun),
                name=printable(row.name),
                time=f"{row.seconds or 0:.3f}",
            )
            if (expected := ENDINGS[row.outcome].junit) is not None:
                ElementTree.SubElement(case, expected, message=printable(row.what))
        for what, count in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            suite.set(count, str(sum(case.find(what) is not None for case in suite)))
        root = ElementTree.Element("testsuites")
        root.append(suite)
        ElementTree.indent(root)
        return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _cells(row: Row) -> dict[str, str]:
    ending = ENDINGS[row.outcome]
    return {
        "name": row.name,
        "link": row.link,
        "tone": ending.tone,
        "mark": ending.mark,
        "word": ending.word,
        "seconds": "" if row.seconds is None else human_seconds(row.seconds),
        "bytes": "" if row.bytes is None else human_bytes(row.bytes),
        "what": row.what,
    }
