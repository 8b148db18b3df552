"""The file of a saved configuration, in a restore point."""

from __future__ import annotations

from runner.base.errors import StateError
from runner.hosts.host import Host
from steps.saved_vm.configuration import Saved, parse


def read(host: Host, path: str, instead: str) -> Saved:
    """Raises StateError if it is gone, with what can be done `instead`, or damaged."""
    try:
        content = host.read(path)
    except FileNotFoundError:
        raise StateError(f"the saved configuration {path} on {host.name} is gone: {instead}") from None
    return parse(content, f"{path} on {host.name}")
