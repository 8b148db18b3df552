"""The TaskManager: tasks that ran, also those that are no longer known by their reference."""

from __future__ import annotations

from typing import Any

from steps.lab.simulator.events import is_about, is_within
from steps.lab.simulator.history import MOST, HistoryCollector
from steps.lab.simulator.objects import Managed, World, operation, provides
from steps.lab.simulator.soap import Call
from steps.lab.simulator.tasks import Task, Tasks
from steps.lab.simulator.vmodl import vim


class TaskManager(Managed):
    kind = vim.TaskManager

    def __init__(self, world: World, tasks: Tasks) -> None:
        super().__init__(world, "TaskManager")
        self._tasks = tasks

    @provides("recentTask")
    def recent(self) -> list[Any]:
        """Those that a client can still wait for."""
        return [task.ref for task in self.world.all(Task)]

    @provides("maxCollector")
    def most_collectors(self) -> int:
        return MOST

    @operation("CreateCollectorForTasks")
    def create_collector(self, call: Call) -> Any:
        asked = call.arguments.filter
        return TaskHistoryCollector(self.world, call.session, asked, lambda: self._matching(asked)).ref

    def _matching(self, asked: Any) -> list[Any]:
        return [
            info
            for info, about in self._tasks.history
            if is_about(asked.entity, about)
            and (not asked.state or info.state in asked.state)
            and (asked.time is None or is_within(asked.time, info.queueTime))
        ]


class TaskHistoryCollector(HistoryCollector):
    kind = vim.TaskHistoryCollector

    @operation("ReadNextTasks")
    def read_next(self, call: Call) -> list[Any]:
        return self.forwards(call)

    @operation("ReadPreviousTasks")
    def read_previous(self, call: Call) -> list[Any]:
        return self.backwards(call)
