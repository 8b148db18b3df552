"""The turns of a run's nodes, and of what it only reads, or does for good measure."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from runner.app.claims import Limits
from runner.app.options import Options
from runner.app.records import new_record, new_run_id
from runner.app.runs import _turns
from runner.app.workspace import Workspace, open_workspace
from runner.hosts.local import LocalHost
from runner.step.items import Item
from steps.repository import marker

COPY = """\
version: 1
name: copy
repositories:
  main: {{host: local, path: {root}/main, min-free: 1024 TiB}}
  offsite: {{host: local, path: {root}/offsite, limits: {{disks: 1}}}}
slots: {{host: local, path: {root}/slots}}
template: copy
vars: {{repository: main, to: offsite}}
"""

BACKUP = """\
version: 1
name: backup
vcenters:
  prod: {{server: localhost, username: backup, password: {{env: NONE}}, tls: {{thumbprint: "{thumbprint}"}}}}
repositories:
  main: {{host: local, path: {root}/main, limits: {{disks: 4}}}}
  offsite: {{host: local, path: {root}/offsite, limits: {{disks: 1}}, min-free: 1024 TiB}}
slots: {{host: local, path: {root}/slots}}
template: backup
vars: {{vm: ash, vcenter: prod, repository: main, copies: [{{to: offsite}}]}}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    marker.init(LocalHost(), str(tmp_path / "main"))
    return tmp_path


def opened(root: Path, text: str) -> AbstractContextManager[Workspace]:
    path = root / "job.yaml"
    path.write_text(text.format(root=root, thumbprint="0" * 64))
    return open_workspace(path, Options(state=root / "state"), threading.Event(), ())


def of(number: int) -> Item:
    return Item(id=str(number), name=f"the copy of vm{number}", path="", disks=1)


def test_nodes_of_a_run_take_turns_without_a_word_and_the_room_of_what_they_only_read_does_not_matter(
    root: Path,
) -> None:
    marker.init(LocalHost(), str(root / "offsite"))
    with opened(root, COPY) as workspace:
        workspace.run(new_record(workspace.job, new_run_id()))
        turns = _turns(workspace)
        assert turns is not None
        ctx = workspace.world.context("copy")
        said: list[str] = []
        ctx.warn = said.append  # type: ignore[method-assign]
        began, waits = threading.Event(), threading.Event()

        def second() -> None:
            waits.set()
            with turns.briefly(ctx, of(2), ("main",)):
                began.set()

        other = threading.Thread(target=second)
        with turns.briefly(ctx, of(1), ("main",)):
            other.start()
            assert waits.wait(10)
            assert not began.wait(0.3)
        assert began.wait(30)
        other.join()
        assert said == []


def test_a_backup_waits_for_no_room_and_no_answer_of_where_its_copies_go(root: Path) -> None:
    with opened(root, BACKUP) as workspace:
        workspace.run(new_record(workspace.job, new_run_id()))
        gone = Limits(workspace.job, workspace.world, nodes=4)
        item = Item(id="1", name="ash", path="", disks=2)
        assert [claim.what for claim in gone.claims(item)] == ["disks written to repository main at once"]
        assert gone.rooms([item]) == ()
        assert not any("offsite" in need for need in gone.needs(item))
        marker.init(LocalHost(), str(root / "offsite"))
        there = Limits(workspace.job, workspace.world, nodes=4)
        assert [(claim.what, claim.amount, claim.limit) for claim in there.claims(item)] == [
            ("disks written to repository main at once", 2, 4),
            ("disks written to repository offsite at once", 1, 1),
        ]
