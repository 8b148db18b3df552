"""What the summary of a test run says besides what failed."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Whether the tests of VDDK ran: they need a plugin of nbdkit that not every machine can have."""
    ran = _of_vddk(terminalreporter, "passed") + _of_vddk(terminalreporter, "failed")
    skipped = _of_vddk(terminalreporter, "skipped")
    if ran or skipped:
        reasons = {report.longrepr[2].removeprefix("Skipped: ") for report in skipped}
        why = f", {len(skipped)} were skipped: {'; '.join(sorted(reasons))}" if skipped else ""
        terminalreporter.write_line(f"VDDK: {len(ran)} tests ran{why}")


def _of_vddk(terminalreporter: Any, outcome: str) -> list[Any]:
    return [report for report in terminalreporter.stats.get(outcome, ()) if "test_vddk" in report.nodeid]
