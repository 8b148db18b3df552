"""The run as a JUnit file: one test suite, one test case a node; what CI systems show on a merge request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC
from xml.etree import ElementTree

from runner.base.printable import printable
from runner.events.outcomes import ENDINGS, NODES
from runner.events.summary import NodeSummary, RunSummary
from runner.report.labels import story, verdict

ATTACHMENT = "[[ATTACHMENT|{}]]"
"""How Jenkins (plugin "JUnit Attachments") and GitLab ("Unit test reports", screenshots; there the path is
relative to the project) find a file of a test case: a line of its output (documented)."""

THE_RUN = "the run"
"""The test case of what is no node's fault. It is there only where the run did not go well and no node tells
it."""


def render_junit(summary: RunSummary, attached: Mapping[str, Sequence[str]] | None = None) -> str:
    """`attached`: by node, paths of files that belong to it."""
    undo_failed = {undo.node: undo.error for undo in summary.undo_failures}
    files = attached or {}
    cases = [_case(node, undo_failed.get(node.node), files.get(node.node, ())) for node in summary.nodes]
    expected = ENDINGS[summary.outcome].junit
    # CI is green where no case fails: a run that failed by no node's fault needs a case to say so.
    if expected is not None and not any(
        case.find(what) is not None for case in cases for what in ("failure", "error")
    ):
        cases.append(_of_the_run(summary, expected))
    suite = ElementTree.Element(
        "testsuite",
        name=printable(summary.job),
        tests=str(len(cases)),
        failures=_count(cases, "failure"),
        errors=_count(cases, "error"),
        skipped=_count(cases, "skipped"),
        time=f"{summary.seconds:.3f}",
        timestamp=summary.started.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
    )
    suite.extend(cases)
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _count(cases: list[ElementTree.Element], what: str) -> str:
    return str(sum(case.find(what) is not None for case in cases))


def _case(node: NodeSummary, undo_failed: str | None, attached: Sequence[str]) -> ElementTree.Element:
    case = ElementTree.Element(
        "testcase",
        classname=printable(node.step or "not reached"),
        name=printable(node.node),
        time=f"{node.seconds or 0:.3f}",
    )
    ending = NODES[node.state]
    if ending.junit is not None:
        why = node.error or node.alarm or node.why or "not reached"
        ElementTree.SubElement(case, ending.junit, message=printable(why))
    if undo_failed is not None:
        ElementTree.SubElement(case, "error", message=printable(f"cleanup failed: {undo_failed}"))
    told = [printable(story(node)), *(ATTACHMENT.format(printable(path)) for path in attached)]
    if any(told):
        ElementTree.SubElement(case, "system-out").text = "\n".join(filter(None, told))
    return case


def _of_the_run(summary: RunSummary, what: str) -> ElementTree.Element:
    case = ElementTree.Element("testcase", classname=THE_RUN, name=THE_RUN, time=f"{summary.seconds:.3f}")
    ElementTree.SubElement(case, what, message=printable(summary.error or verdict(summary).line))
    return case
