"""What the summary of a test run says besides what failed; a file system that fills up soon; a disk that boots."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.guests import small_linux
from tests.guests.debian_packages import NotToBeHad


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without TORTURE, tests that are for `make torture` alone are none."""
    if "TORTURE" in os.environ:
        return
    dear = [item for item in items if item.get_closest_marker("torture")]
    config.hook.pytest_deselected(items=dear)
    items[:] = [item for item in items if item not in dear]


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


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MiB."""
    path = tmp_path / "small"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m,mode=700", "tmpfs", str(path)]
    done = subprocess.run(mount, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True, timeout=30)


@pytest.fixture(scope="session")
def linux_disk() -> Path:
    """Of the small Linux, shared by all: copy it (`small_linux.copied`) before you change it."""
    try:
        return small_linux.disk()
    except NotToBeHad as why:
        pytest.skip(f"no small Linux can be made here: {why}")
