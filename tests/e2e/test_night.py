"""The usual night, an incremental in which nothing changed, asks no more than it needs: each command is a round trip."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from steps.lab.lab import Lab
from tests.bench.counted import counting
from tests.bench.night import VM, soap_calls, write_job
from tests.e2e.site import Site, disk, inventory

INVENTORY = inventory({"name": VM, "disks": [disk(2000, "8 MiB", 0, 1), disk(2001, "4 MiB", 1, 2)]})

MOST_COMMANDS = 120
"""Of two disks, to the repository's host; it was 270 once, and 4 more for each run that was remembered."""

NBDKITS = 1 + 2 + 1
"""One says its version, two serve a disk each, and one tries whether files can be read before there is a snapshot."""

MOST_CALLS = 58
"""Of two disks, to the vCenter; they were 81. A keepalive may come between."""


@pytest.fixture
def job(lab: Lab) -> Path:
    return write_job(lab)


def test_a_night_in_which_nothing_changed_asks_little(lab: Lab, site: Site, job: Path) -> None:
    assert site.run(job).exit_code == 0
    asked = []
    for _ in range(2):
        before = soap_calls(lab)
        with counting() as night:
            ran = site.run(job)
        assert ran.exit_code == 0 and {disk["kind"] for disk in ran.output("publish")["made"]} == {"incremental"}
        calls = soap_calls(lab) - before
        asked.append(len(night.commands))
        assert sum(argv[0] == "ssh" for argv in night.programs) <= 2, "one says its version, one carries all forwards"
        assert sum(argv[0] == "nbdkit" for argv in night.programs) <= NBDKITS
        assert night.logins <= 2, "more connections than sessions need"
        assert asked[-1] <= MOST_COMMANDS, Counter(command[-1] for command in night.commands)
        assert calls.total() <= MOST_CALLS, calls
    assert abs(asked[1] - asked[0]) <= 6, "it asks more with each run that is remembered"
