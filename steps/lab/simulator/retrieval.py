"""What a PropertyFilterSpec chooses: objects found by traversal, and which of their properties.

As in the Web Services SDK Programming Guide, "PropertyCollector": selection specs may refer to each other by
name, an object is given once, unset properties are absent, an unknown path or a gone object fails the whole
call.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from steps.lab.simulator.objects import NOT_KNOWN, Managed, World
from steps.lab.simulator.properties import read_path
from steps.lab.simulator.vmodl import fault, support, vim, vmodl

Found = tuple[Managed, dict[str, Any], list[Any]]
"""The object, the values of its properties by path, and what could not be read."""


def retrieve(world: World, spec: Any) -> Iterator[Found]:
    chosen: dict[str, Managed] = {}
    for start in spec.objectSet:
        try:
            managed = world.find(start.obj)
        except vmodl.fault.ManagedObjectNotFound:
            if spec.reportMissingObjectsInResults:
                continue
            raise
        named: dict[str, Any] = {}
        _name(start.selectSet, named)
        _visit(world, managed, start.selectSet, bool(start.skip), named, chosen, set())
    for managed in chosen.values():
        paths = _paths(managed, spec.propSet)
        if paths is not None:
            yield _read(managed, paths)


def _name(selections: Any, named: dict[str, Any]) -> None:
    for selection in selections:
        if isinstance(selection, vmodl.query.PropertyCollector.TraversalSpec):
            if selection.name:
                named[selection.name] = selection
            _name(selection.selectSet, named)


def _visit(
    world: World,
    managed: Managed,
    selections: Any,
    skip: bool,
    named: dict[str, Any],
    chosen: dict[str, Managed],
    seen: set[tuple[str, int]],
) -> None:
    if not skip:
        chosen.setdefault(managed.moid, managed)
    for selection in selections:
        traversal = selection
        if not isinstance(selection, vmodl.query.PropertyCollector.TraversalSpec):
            traversal = named.get(selection.name)
            if traversal is None:
                raise fault(
                    vmodl.fault.InvalidArgument, f"unknown selection {selection.name}", invalidProperty="name"
                )
        if not issubclass(managed.kind, traversal.type) or (managed.moid, id(traversal)) in seen:
            continue
        seen.add((managed.moid, id(traversal)))
        value = read_path(managed, traversal.path)
        for reference in value if isinstance(value, list) else [value]:
            if not isinstance(reference, support.ManagedObject):
                continue
            try:
                child = world.find(reference)
            except vmodl.fault.ManagedObjectNotFound:
                continue  # it went away between naming and visiting: not an object asked for
            _visit(world, child, traversal.selectSet, bool(traversal.skip), named, chosen, seen)


def _paths(managed: Managed, property_specs: Any) -> list[str] | None:
    """None if no spec is for the object's type."""
    matching = [spec for spec in property_specs if issubclass(managed.kind, spec.type)]
    if not matching:
        return None
    paths: dict[str, None] = {}
    for spec in matching:
        paths.update(dict.fromkeys(managed.property_names if spec.all else spec.pathSet))
    return list(paths)


def _read(managed: Managed, paths: list[str]) -> Found:
    values: dict[str, Any] = {}
    made: dict[str, Any] = {}
    missing: list[Any] = []
    for path in paths:
        if path.split(".", 1)[0] in managed.unreadable:
            refused = fault(
                vim.fault.NoPermission,
                "Permission to perform this operation was denied.",
                object=managed.ref,
                privilegeId="System.Read",
            )
            missing.append(vmodl.query.PropertyCollector.MissingProperty(path=path, fault=refused))
            continue
        value = managed.known(path)
        if value is NOT_KNOWN:
            value = read_path(managed, path, made)
        if value is not None:
            values[path] = value
    return managed, values, missing
