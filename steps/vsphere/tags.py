"""Which VMs have which tag, over vCenter's REST interface: a few requests, however many VMs there are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from steps.vsphere.client import Client
from steps.vsphere.errors import Gone, VSphereError
from steps.vsphere.rest import READING, NotFound, Rest
from steps.vsphere.rule import is_pattern, like

BATCH = 1000
"""Tags in one question. Up to 2,000 are documented for a related one (core.vmware.com), none for this."""


class AmbiguousTag(VSphereError):
    fix_first = True


@dataclass(frozen=True)
class Tagged:
    """`machines`: morefs of VMs by tag as a rule names it. `names`: ``category/tag`` of those that were
    looked at on the way."""

    machines: dict[str, frozenset[str]]
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Tag:
    id: str
    category: str
    name: str

    def __str__(self) -> str:
        return f"{self.category}/{self.name}"


def tagged(client: Client, wanted: Collection[str]) -> Tagged:
    """`wanted` as rules write it. A tag that nobody made is on no VM. Raises AmbiguousTag, LoginRefused,
    PermissionMissing, Unreachable, VSphereError."""
    if not wanted:
        return Tagged({})
    with Rest(client) as rest:
        known = list(_known(rest, wanted))
        meant = {text: [tag for tag in known if _is(text, tag)] for text in wanted}
        for text, found in meant.items():
            _refuse_ambiguous(text, found)
        on = _attached(rest, {tag.id for found in meant.values() for tag in found})
    machines = {
        text: frozenset(moref for tag in found for moref in on[tag.id]) for text, found in meant.items()
    }
    return Tagged(machines, tuple(sorted(map(str, known))))


def there(client: Client, wanted: Collection[str]) -> tuple[str, ...]:
    """Those of ``category/tag`` that exist. Raises as `tagged`."""
    if not wanted:
        return ()
    with Rest(client) as rest:
        known = {str(tag) for tag in _known(rest, wanted)}
    return tuple(sorted(known & set(wanted)))


def of_vm(client: Client, vm: str) -> tuple[str, ...]:
    """``category/tag`` of those that are on it. Raises as `tagged`."""
    with Rest(client) as rest:
        ids = _ids(rest.act("tag-association", "list-attached-tags", _object(vm)))
        return tuple(sorted(map(str, _of_ids(rest, ids))))


def attach(client: Client, vm: str, tags: Collection[str]) -> None:
    """``category/tag`` each; one that is on it already stays. Raises as `tagged`, and Gone where one is not
    there any longer."""
    if not tags:
        return
    with Rest(client) as rest:
        known = {str(tag): tag.id for tag in _known(rest, tags)}
        for tag in tags:
            if tag not in known:
                raise Gone(f"the tag {tag} is not in vCenter {client.name} any longer")
            rest.act("tag-association", "attach", _object(vm), of=known[tag])


def _object(vm: str) -> dict[str, Any]:
    return {"object_id": {"type": "VirtualMachine", "id": vm}}


def _of_ids(rest: Rest, ids: Collection[str]) -> Iterator[_Tag]:
    categories: dict[str, str] = {}
    for one in ids:
        try:
            found = rest.get("tag", one)
            category = _text(found, "category_id")
            if category not in categories:
                categories[category] = _text(rest.get("category", category), "name")
        except NotFound:
            continue  # deleted since it was listed
        yield _Tag(one, categories[category], _text(found, "name"))


def _known(rest: Rest, wanted: Collection[str]) -> Iterator[_Tag]:
    """Of the categories that may be meant, each with all its tags: there is no question for one by name."""
    for category_id, category in _named(rest, "category", _ids(rest.get("category"))):
        if any("/" not in text or _rest_of(text, category) for text in wanted):
            try:
                ids = _ids(rest.tags_of(category_id))
            except NotFound:
                continue  # deleted since it was listed
            for tag_id, name in _named(rest, "tag", ids):
                yield _Tag(tag_id, category, name)


def _named(rest: Rest, what: str, ids: Iterable[str]) -> Iterator[tuple[str, str]]:
    for one in ids:
        try:
            found = rest.get(what, one)
        except NotFound:
            continue  # deleted since it was listed
        yield one, _text(found, "name")


def _rest_of(text: str, category: str) -> list[str]:
    """What `text` may call the tag, if `category` has it: names may hold slashes."""
    splits = [index for index, sign in enumerate(text) if sign == "/"]
    return [text[index + 1 :] for index in splits if like(text[:index], category)]


def _is(text: str, tag: _Tag) -> bool:
    names = _rest_of(text, tag.category) if "/" in text else [text]
    return any(like(name, tag.name) for name in names)


def _refuse_ambiguous(text: str, found: list[_Tag]) -> None:
    categories = {tag.category for tag in found}
    if len(categories) > 1 and "/" not in text and not is_pattern(text):
        listed = " or ".join(sorted(map(str, found)))
        raise AmbiguousTag(f"tag {text} is in {len(categories)} categories: write {listed}")


def _attached(rest: Rest, ids: Collection[str]) -> dict[str, list[str]]:
    """Morefs of VMs by tag."""
    found: dict[str, list[str]] = {}
    asked = sorted(ids)
    for start in range(0, len(asked), BATCH):
        batch = {"tag_ids": asked[start : start + BATCH]}
        answer = rest.act("tag-association", "list-attached-objects-on-tags", batch)
        for entry in _list(answer):
            found[_text(entry, "tag_id")] = _machines(entry.get("object_ids"))
    for one in set(ids) - set(found):
        # A batch leaves out what it does not know, and perhaps what nothing has, with status 200 (govmomi
        # issue 2211): asked alone, it says which.
        try:
            found[one] = _machines(rest.act("tag-association", "list-attached-objects", {}, of=one))
        except NotFound:
            found[one] = []  # deleted since its name was read
    return found


def _machines(objects: Any) -> list[str]:
    return [_text(one, "id") for one in _list(objects) if _text(one, "type") == "VirtualMachine"]


def _ids(answer: Any) -> list[str]:
    if not all(isinstance(one, str) for one in _list(answer)):
        raise _unfit()
    return list(answer)


def _list(answer: Any) -> list[Any]:
    if not isinstance(answer, list):
        raise _unfit()
    return answer


def _text(entry: Any, key: str) -> str:
    value = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(value, str):
        raise _unfit()
    return value


def _unfit() -> VSphereError:
    return VSphereError(f"{READING} failed: the vCenter's answer is not as its REST interface is documented")
