"""Properties by path, through the property collector.

Never by attribute of a managed object: pyVmomi then asks the server for each, and an unset one looks like a
missing one. An unset property is absent from the answer (vSphere Web Services SDK Programming Guide, "Unset
Optional Properties"), one that may not be read is in `missingSet`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from steps.vsphere import vmomi
from steps.vsphere.client import Client
from steps.vsphere.errors import VSphereError
from steps.vsphere.faults import explain
from steps.vsphere.session import Session
from steps.vsphere.unset import given

Properties = dict[str, Any]
"""By path; what is unset is absent."""

PAGE = 500
"""Objects an answer. The server may send fewer, and then gives a token for the next."""


def read(
    client: Client, kind: type[vmomi.ManagedObject], moref: str, paths: Sequence[str], doing: str
) -> Properties:
    """Of one object. Raises Gone, PermissionMissing."""

    def work(session: Session) -> list[Any]:
        spec = _collector().ObjectSpec(obj=session.object(kind, moref))
        return _retrieve(session, kind, [spec], paths)

    contents = client.ask((kind.__name__, moref, *paths), doing, work)
    if len(contents) != 1:
        raise VSphereError(
            f"{doing} failed: vCenter answered for {len(contents)} objects where one was asked for; run again"
        )
    (content,) = contents
    for missing in content.missingSet or ():
        raise explain(missing.fault, doing)
    return _properties(content)


def read_many(
    client: Client,
    kind: type[vmomi.ManagedObject],
    morefs: Iterable[str],
    paths: Sequence[str],
    doing: str,
) -> dict[str, Properties]:
    """By moref. What may not be read is left out."""
    wanted = tuple(morefs)
    if not wanted:
        return {}

    def work(session: Session) -> list[Any]:
        specs = [_collector().ObjectSpec(obj=session.object(kind, moref)) for moref in wanted]
        return _retrieve(session, kind, specs, paths)

    contents = client.ask((kind.__name__, wanted, *paths), doing, work)
    return _by_moref(contents, doing)


def read_all(
    client: Client, kind: type[vmomi.ManagedObject], paths: Sequence[str], doing: str
) -> dict[str, Properties]:
    """Of all objects of that kind that the account can see, also those in vApps. What may not be read is left
    out."""

    def work(session: Session) -> list[Any]:
        # A view ends with its session too, so one that a failure leaves behind does not stay.
        views, root = session.service("viewManager"), session.service("rootFolder")
        view = views.CreateContainerView(container=root, type=[kind], recursive=True)
        members = _collector().TraversalSpec(
            name="members", type=vmomi.vim.view.ContainerView, path="view", skip=False
        )
        spec = _collector().ObjectSpec(obj=view, skip=True, selectSet=[members])
        contents = _retrieve(session, kind, [spec], paths)
        view.DestroyView()
        return contents

    return _by_moref(client.call(doing, work), doing)


def _by_moref(contents: list[Any], doing: str) -> dict[str, Properties]:
    return {
        str(given(content, "obj", f"an answer to {doing}")._moId): _properties(content)
        for content in contents
    }


def _retrieve(
    session: Session, kind: type[vmomi.ManagedObject], objects: list[Any], paths: Sequence[str]
) -> list[Any]:
    collector = session.service("propertyCollector")
    wanted = _collector().PropertySpec(type=kind, all=False, pathSet=list(paths))
    spec = _collector().FilterSpec(objectSet=objects, propSet=[wanted])
    contents: list[Any] = []
    page = collector.RetrievePropertiesEx([spec], _collector().RetrieveOptions(maxObjects=PAGE))
    while page is not None:  # unset when nothing matches
        contents.extend(page.objects)
        page = collector.ContinueRetrievePropertiesEx(page.token) if page.token else None
    return contents


def _properties(content: Any) -> Properties:
    return {entry.name: entry.val for entry in content.propSet or ()}


def _collector() -> Any:
    """The types of what it is asked."""
    return vmomi.vmodl.query.PropertyCollector
