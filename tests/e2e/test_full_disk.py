"""A file system that fills in the middle of a run: a sentence, what fits is finished, and after making room all the rest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from runner.events.events import Event, NodeFailed, NodeFinished, NodeStarted, Warned
from runner.hosts.local import LocalHost
from steps.repository import marker
from tests.e2e.site import Site, disk, inventory

INVENTORY = inventory(
    {"name": "vm", "disks": [disk(2000, "2 MiB", 0, 1), disk(2001, "3 MiB", 1, 2), disk(2002, "24 MiB", 2, 3)]}
)
KEYS = (2000, 2001, 2002)


class Ballast:
    """Another's file that takes all of the room but `left` bytes when `node` starts."""

    def __init__(self, small: Path, node: str, left: int) -> None:
        self.file = small / "ballast"
        self.node = node
        self.left = left

    def __call__(self, event: Event) -> None:
        if isinstance(event, NodeStarted) and event.node == self.node and not self.file.exists():
            free = LocalHost("hub").free_bytes(str(self.file.parent))
            self.file.write_bytes(bytes(free - self.left))


def job_in(site: Site, repository: Path, state: dict[str, str]) -> Path:
    path = site.directory / "jobs" / f"{repository.parent.name}.yaml"
    document = {
        "version": 1,
        "include": "../site.yaml",
        "template": "backup",
        "vars": {"vm": "vm", "vcenter": "lab", "repository": "small", "transport": "https", "window": "4 MiB"},
        "repositories": {"small": {"host": "store", "path": str(repository)}},
        "state": state,
    }
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def places(full: str, small: Path, large: Path) -> tuple[Path, dict[str, str]]:
    """Of the repository and of the run's records, whichever is to be on the small file system."""
    match full:
        case "repository":
            return small / "repository", {"path": str(large / "state")}
        case "records":
            return large / "repository", {"host": "store", "path": str(small / "state")}
        case "records-and-events":
            return large / "repository", {"path": str(small / "state")}
        case _:
            return small / "repository", {"host": "store", "path": str(small / "repository" / ".state")}


FULL = ("repository", "records-and-events", *(("records", "all") if "TORTURE" in os.environ else ()))


@pytest.mark.parametrize("full", FULL)
def test_a_disk_that_fills_in_the_middle_of_a_copy(site: Site, small: Path, tmp_path: Path, full: str) -> None:
    repository, state = places(full, small, tmp_path)
    marker.init(LocalHost("hub"), str(repository))
    job = job_in(site, repository, state)
    ballast = Ballast(small, "transfer[2002]", left=0 if full.startswith("records") else 8 << 20)

    told: list[Event] = []
    assert site.run(job, ballast, told.append, parallel=1).exit_code == 1
    untold = [event.text for event in told if isinstance(event, Warned) and event.node == "the run's events"]
    assert len(untold) == (1 if full in ("records-and-events", "all") else 0)
    assert all("events.jsonl is incomplete, make room there: No space left" in text for text in untold)
    failed = {event.node: event.error for event in told if isinstance(event, NodeFailed)}
    # Where no record can be written, the cleanup cannot be either.
    assert set(failed) - {"cleanup"} == {"transfer[2002]"}
    for said in failed.values():
        assert "make room" in said, said
        assert "\n" not in said
    done = {event.node for event in told if isinstance(event, NodeFinished)}
    assert {"verify[2000]", "verify[2001]"} <= done
    assert not list(repository.glob("*/*/manifest.json"))
    assert len(site.snapshots()) == 1

    ballast.file.unlink()
    again = site.run(job)
    assert again.exit_code == 0, again.error
    assert again.acted() == {"transfer[2002]", "verify[2002]", "publish", "cleanup"}
    assert site.images_equal_sources("vm", again.points()[0], KEYS)
    assert site.snapshots() == []
