"""Whether a rule fits a VM, by what the survey saw of it; and what is close to a rule that fits none."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from steps.vsphere.names import unescape
from steps.vsphere.rule import Rule, is_pattern, like, matches, within
from steps.vsphere.survey import Place, Seen, Survey

CLUSTER = "ClusterComputeResource"
"""The API's type; the ComputeResource of a host without a cluster is no cluster."""

STORAGE_POD = "StoragePod"

_OF_KEY = {
    "tag": "summary.config.instanceUuid",
    "name": "name",
    "regex": "name",
    "cluster": "runtime.host",
    "host": "runtime.host",
    "datastore": "datastore",
    "pool": "resourcePool",
    "attribute": "customValue",
    "power": "runtime.powerState",
}
"""What decides a key. Of a tag nothing does, but who may not read a VM (System.Read) is not told that it has
one, and may not read its summary either (vSphere Automation API, TagAssociation.list_attached_objects)."""


@dataclass
class Fitting:
    """`tagged`: morefs of VMs by tag as a rule names it; `attributes`: keys of definitions by name in small
    letters."""

    survey: Survey
    tagged: Mapping[str, frozenset[str]] = field(default_factory=dict)
    attributes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    """Names that are close to those of rules, as far as they were read."""
    _paths: dict[str | None, str | None] = field(default_factory=dict)
    _found: dict[tuple[str, str, str | None], bool | None] = field(default_factory=dict)

    def fits(self, rule: Rule, seen: Seen) -> bool | None:
        """None where nobody can say: what it takes could not be read."""
        unknown = False
        for key in rule.keys:
            answer = self._fits(key, rule, seen)
            if answer is False:
                return False
            unknown = unknown or answer is None
        return None if unknown else True

    def path(self, moref: str | None) -> str | None:
        """As `Survey.path`."""
        if moref not in self._paths:
            self._paths[moref] = self.survey.path(moref)
        return self._paths[moref]

    def why_unknown(self, rules: Iterable[Rule], seen: Seen) -> str:
        """In words, of a VM for which `fits` has no answer."""
        keys = [key for rule in rules for key in rule.keys if self._fits(key, rule, seen) is None]
        paths = sorted({_OF_KEY[key] for key in keys if _OF_KEY.get(key) in seen.unread})
        what = ", ".join(paths) or f"its {' and '.join(dict.fromkeys(keys)) or 'instance uuid'}"
        return f"the account may not read {what}: give its role System.Read there"

    def _fits(self, key: str, rule: Rule, seen: Seen) -> bool | None:
        wanted = getattr(rule, key)
        match key:
            case "tag":
                tagged = seen.moref in self.tagged[wanted]
                return tagged or (None if _OF_KEY["tag"] in seen.unread else False)
            case "folder":
                return self._in_folder(wanted, seen)
            case _ if _OF_KEY[key] in seen.unread:
                return None
            case "name":
                return like(wanted, seen.name)
            case "regex":
                return matches(wanted, unescape(seen.name))
            case "power":
                return bool(seen.power == wanted)
            case "attribute":
                return all(self._has(name, value, seen) for name, value in wanted.items())
            case "datastore":
                return _any_of(self._stands_on(key, wanted, store) for store in seen.datastores)
            case "pool":
                return self._stands_on(key, wanted, seen.pool)
            case _:
                return self._stands_on(key, wanted, seen.host)

    def _has(self, name: str, value: str, seen: Seen) -> bool:
        values = [seen.attributes.get(key, "") for key in self.attributes.get(name.casefold(), ())]
        return any(one and like(value, one) for one in values)

    def _in_folder(self, wanted: str, seen: Seen) -> bool | None:
        if seen.vapp is not None:
            above = next((one.folder for one in self.survey.chain(seen.vapp) if one.folder), None)
        else:
            above = seen.parent
        path = self.path(above) if above is not None else None
        return None if path is None else within(wanted, path)

    def _stands_on(self, key: str, wanted: str, moref: str | None) -> bool | None:
        """Asked of thousands of VMs that stand on a few things."""
        asked = (key, wanted, moref)
        if asked not in self._found:
            self._found[asked] = self._asks(key, wanted, moref)
        return self._found[asked]

    def _asks(self, key: str, wanted: str, moref: str | None) -> bool | None:
        if moref is None:
            return False
        if moref not in self.survey.places:
            return None
        here, *above = self.survey.chain(moref)
        candidates = {
            "host": [here],
            "cluster": [one for one in above[:1] if one.kind == CLUSTER],
            "datastore": [here, *(one for one in above[:1] if one.kind == STORAGE_POD)],
            "pool": [one for one in (here, *above) if one.kind in ("ResourcePool", "VirtualApp")],
        }[key]
        if key == "cluster" and not above:
            return None
        return _any_of(self._is(wanted, one) for one in candidates)

    def _is(self, wanted: str, place: Place) -> bool | None:
        if place.name is None:
            return None
        if like(wanted, place.name):
            return True
        path = self.path(place.moref) if "/" in wanted else ""
        return None if path is None else bool(path) and within(wanted, path)

    # What is close

    def why_none(self, rule: Rule, machines: Iterable[Seen]) -> str:
        """Of a rule that fits no VM, in words."""
        each = [key for key in rule.keys if not any(self._fits(key, rule, one) for one in machines)]
        if not each:
            return "each of its keys fits some VM, and no VM all of them"
        return "; ".join(self._close(key, getattr(rule, key), machines) for key in each)

    def _close(self, key: str, wanted: object, machines: Iterable[Seen]) -> str:
        if key == "attribute":
            assert isinstance(wanted, dict)
            missing = [name for name in wanted if name.casefold() not in self.attributes]
            if not missing:
                return f"no VM has {', '.join(f'{name}: {value}' for name, value in wanted.items())}"
            return "; ".join(_said("attribute", name, self.attributes) for name in missing)
        text = str(wanted)
        if key in ("power", "regex") or (is_pattern(text) and key == "name"):
            return f"no VM has {key} {text}"
        known = self._known(key, machines)
        there = text.strip("/").casefold() in {name.casefold() for name in known}
        return f"no VM is in {key} {text}" if there and key != "name" else _said(key, text, known)

    def _known(self, key: str, machines: Iterable[Seen]) -> list[str]:
        """Names that the key could have had."""
        if key == "tag":
            return list(self.tags)
        if key == "name":
            return sorted({unescape(one.name) for one in machines if one.name})
        fits: Mapping[str, Callable[[Place], bool]] = {
            "folder": lambda one: one.kind == "Folder" and "/vm" in (self.path(one.moref) or ""),
            "cluster": lambda one: one.kind == CLUSTER,
            "host": lambda one: one.kind == "HostSystem",
            "datastore": lambda one: one.kind in ("Datastore", STORAGE_POD),
            "pool": lambda one: one.kind in ("ResourcePool", "VirtualApp"),
        }
        places = [one for one in self.survey.places.values() if fits[key](one)]
        if key == "folder":
            return sorted(path for one in places if (path := self.path(one.moref)))
        return sorted({unescape(one.name) for one in places if one.name})


def _any_of(answers: Iterator[bool | None]) -> bool | None:
    unknown = False
    for answer in answers:
        if answer:
            return True
        unknown = unknown or answer is None
    return None if unknown else False


def _said(key: str, wanted: str, known: Iterable[str]) -> str:
    names = {name.casefold(): name for name in known}
    meant = wanted.strip("/").casefold() if key == "folder" else wanted.casefold()
    close = [names[one] for one in difflib.get_close_matches(meant, list(names), n=3)]
    if not close and key == "folder":
        # People leave out the folder `vm`, which the client does not show.
        last = meant.rpartition("/")[2]
        close = [name for folded, name in names.items() if folded.rpartition("/")[2] == last][:3]
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    return f"there is no {key} {wanted}{hint}"
