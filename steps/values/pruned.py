"""The points of a VM that a policy did not keep, and what became of them."""

from __future__ import annotations

from runner.base.model import Model


class Dropped(Model):
    """A point that is gone."""

    point: str
    """Its name"""
    freed: int
    """Bytes that it took"""
    why: str
    """Why nothing kept it"""


class Pruned(Model):
    vm: str
    """The VM's name; with inventory path and uuid where another VM there has that name too"""
    instance_uuid: str
    """The VM's instance uuid"""
    dropped: tuple[Dropped, ...]
    """Points that are gone, oldest first"""
    rebuilt: tuple[str, ...]
    """Images that were put on others or made fulls, in words"""
    notes: tuple[str, ...]
    """What was not done, and why"""
