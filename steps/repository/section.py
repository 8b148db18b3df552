"""The section `repositories` of a job file."""

from __future__ import annotations

import posixpath

from pydantic import field_validator

from runner.base.model import HostName
from runner.hosts.host import Host
from runner.hosts.state_place import StatePlace
from runner.step.context import Context
from runner.step.section import Section
from steps.repository import layout, marker


class Repository(Section):
    """``{host: store, path: /backup/repository}``"""

    host: HostName
    """The host that has it."""
    path: str
    """Absolute, on `host`."""

    def writes(self) -> StatePlace:
        return StatePlace(self.host, self.path)

    def state_place(self) -> StatePlace:
        """Beside the VMs' directories, where no list of points looks."""

        def ready(host: Host) -> None:
            marker.require(host, self.path)

        return StatePlace(self.host, posixpath.join(self.path, layout.STATE), ready)

    @field_validator("path")
    @classmethod
    def _plain(cls, value: str) -> str:
        if not value.startswith("/") or ".." in value.split("/") or not value.isprintable():
            raise ValueError("write an absolute path without '..', such as /backup/repository")
        path = "/" + posixpath.normpath(value).lstrip("/")
        if path == "/":
            raise ValueError("the root directory cannot be a repository; write a directory below it")
        return path


def locate(ctx: Context, name: str) -> tuple[Host, str]:
    """The host of the job's repository `name`, and its path there."""
    repository: Repository = ctx.section("repositories", name)
    return ctx.host(repository.host), repository.path
