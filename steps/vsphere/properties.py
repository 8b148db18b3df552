"""Properties by path, through the property collector.

Never by attribute of a managed object: pyVmomi then asks the server for each, and an unset one looks like a
missing one. An unset property is absent from the answer (vSphere Web Services SDK Programming Guide, "Unset
Optional Properties"), one that may not be read is in `missingSet`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

from steps.vsphere import vmomi
from steps.vsphere.client import Client
from steps.vsphere.errors import VSphereError
from steps.vsphere.faults import explain
from steps.vsphere.session import Session
from steps.vsphere.unset import given

Properties = dict[str, Any]
"""By path; what is unset is absent."""

Wanted: TypeAlias = "Mapping[type[vmomi.ManagedObject], Sequence[str]]"
"""Paths by type."""

PAGE = 500
"""Objects an answer. The server may send fewer, and then gives a token for the next."""


def read(
    client: Client, kind: type[vmomi.ManagedObject], moref: str, paths: Sequence[str], doing: str
) -> Properties:
    """Of one object. Raises Gone, PermissionMissing."""
    if (known := _known(client, kind, moref, paths)) is not None:
        return known

    def work(session: Session) -> list[Any]:
        return list(contents(session, specs_of(session, kind, (moref,)), {kind: paths}))

    found = client.ask((kind.__name__, moref, *paths), doing, work)
    if len(found) != 1:
        raise VSphereError(
            f"{doing} failed: vCenter answered for {len(found)} objects where one was asked for; run again"
        )
    (content,) = found
    for missing in content.missingSet or ():
        raise explain(missing.fault, doing)
    return properties_of(content)


def read_many(
    client: Client,
    kind: type[vmomi.ManagedObject],
    morefs: Iterable[str],
    paths: Sequence[str],
    doing: str,
) -> dict[str, Properties]:
    """By moref. What may not be read is left out."""
    every = tuple(morefs)
    known = {moref: seen for moref in every if (seen := _known(client, kind, moref, paths)) is not None}
    wanted = tuple(moref for moref in every if moref not in known)
    if not wanted:
        return known

    def work(session: Session) -> list[Any]:
        return list(contents(session, specs_of(session, kind, wanted), {kind: paths}))

    return known | _by_moref(client.ask((kind.__name__, wanted, *paths), doing, work), doing)


def known_key(kind: type[vmomi.ManagedObject], moref: str) -> object:
    """Under which a look may have been told what it would read of an object: Properties, with None for what
    is unset."""
    return ("properties of", kind.__name__, moref)


def _known(
    client: Client, kind: type[vmomi.ManagedObject], moref: str, paths: Sequence[str]
) -> Properties | None:
    seen = None if client.answers is None else client.answers.get((client.name, known_key(kind, moref)))
    if seen is None or any(path not in seen for path in paths):
        return None
    return {path: seen[path] for path in paths if seen[path] is not None}


def read_all(
    client: Client, kind: type[vmomi.ManagedObject], paths: Sequence[str], doing: str
) -> dict[str, Properties]:
    """Of all objects of that kind that the account can see, also those in vApps. What may not be read is left
    out."""

    def work(session: Session) -> list[Any]:
        with view(session, (kind,)) as objects:
            return list(contents(session, objects, {kind: paths}))

    return _by_moref(client.call(doing, work), doing)


@contextmanager
def view(session: Session, kinds: Iterable[type[vmomi.ManagedObject]]) -> Iterator[list[Any]]:
    """Object specs for `contents`: all objects of these types that the account can see, at any depth. A view
    that a failure leaves behind ends with its session."""
    root = session.service("rootFolder")
    made = session.service("viewManager").CreateContainerView(
        container=root, type=list(kinds), recursive=True
    )
    members = _collector().TraversalSpec(
        name="members", type=vmomi.vim.view.ContainerView, path="view", skip=False
    )
    yield [_collector().ObjectSpec(obj=made, skip=True, selectSet=[members])]
    made.DestroyView()


def contents(
    session: Session,
    objects: list[Any],
    wanted: Wanted,
    *,
    skip_gone: bool = False,
) -> Iterator[Any]:
    """ObjectContents, a page at a time. Without `skip_gone` an object that is gone
    fails it all."""
    collector = session.service("propertyCollector")
    specs = [
        _collector().PropertySpec(type=kind, all=False, pathSet=list(paths)) for kind, paths in wanted.items()
    ]
    spec = _collector().FilterSpec(
        objectSet=objects, propSet=specs, reportMissingObjectsInResults=skip_gone or None
    )
    page = collector.RetrievePropertiesEx([spec], _collector().RetrieveOptions(maxObjects=PAGE))
    while page is not None:  # unset when nothing matches
        yield from page.objects
        page = collector.ContinueRetrievePropertiesEx(page.token) if page.token else None


def specs_of(session: Session, kind: type[vmomi.ManagedObject], morefs: Iterable[str]) -> list[Any]:
    """Object specs for `contents`."""
    return [_collector().ObjectSpec(obj=session.object(kind, moref)) for moref in morefs]


def _by_moref(found: list[Any], doing: str) -> dict[str, Properties]:
    return {
        str(given(content, "obj", f"an answer to {doing}")._moId): properties_of(content) for content in found
    }


def properties_of(content: Any) -> Properties:
    return {entry.name: entry.val for entry in content.propSet or ()}


def _collector() -> Any:
    """The types of what it is asked."""
    return vmomi.vmodl.query.PropertyCollector
