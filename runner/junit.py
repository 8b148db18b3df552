"""The run as a JUnit file: one test suite, one test case a node; what CI systems show on a merge request."""

from __future__ import annotations

from datetime import UTC
from xml.etree import ElementTree

from runner.summary import NodeState, RunSummary
from runner.words import printable, story

RAN: tuple[NodeState, ...] = ("done", "kept", "failed")


def render_junit(summary: RunSummary) -> str:
    states = [node.state for node in summary.nodes]
    undo_failed = {undo.node: undo.error for undo in summary.undo_failures}
    suite = ElementTree.Element(
        "testsuite",
        name=printable(summary.job),
        tests=str(len(states)),
        failures=str(states.count("failed")),
        errors=str(len(undo_failed)),
        skipped=str(sum(state not in RAN for state in states)),
        time=f"{summary.seconds:.3f}",
        timestamp=summary.started.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
    )
    for node in summary.nodes:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            classname=printable(node.step or "not reached"),
            name=printable(node.node),
            time=f"{node.seconds or 0:.3f}",
        )
        if node.state == "failed":
            ElementTree.SubElement(case, "failure", message=printable(node.error or "failed"))
        elif node.state not in RAN:
            ElementTree.SubElement(case, "skipped", message=printable(node.why or "not reached"))
        if node.node in undo_failed:
            ElementTree.SubElement(case, "error", message=printable(f"not taken back: {undo_failed[node.node]}"))
        if told := story(node):
            ElementTree.SubElement(case, "system-out").text = printable(told)
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"
