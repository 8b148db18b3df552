"""A restore point in the repositories that may have it. An original and its copies are one point with several
places: it is taken from the first where nothing speaks against it."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from runner.base.errors import DifferenceError, Interrupted, SendenseError, UsageError
from steps.points import stored
from steps.points.place import Place
from steps.repository import layout, lookup, reader, standing
from steps.repository.history import Entry
from steps.repository.vm_directory import VmDirectory
from steps.trail import witness


@dataclass(frozen=True)
class Chosen:
    place: Place
    path: str
    """Absolute, of the point's directory there."""
    notes: tuple[str, ...] = ()
    """Why it is another one than was to be expected, in sentences without a full stop."""
    others: tuple[tuple[str, str], ...] = ()
    """Further repositories that have the point, by name, and its path there: nothing is known against it."""


class SeveralPointsError(UsageError):
    """`found`: each as a person may write it."""

    def __init__(self, name: str, found: Sequence[str]) -> None:
        super().__init__(
            f"{name!r} is not the same point in all repositories: {', '.join(found)}; write more of it, or "
            "add --repository NAME"
        )


class RewrittenError(DifferenceError):
    """Neither is taken: a digest in one of them is not that of the backup."""

    def __init__(self, vm: str, point: str, one: str, other: str) -> None:
        super().__init__(
            f"{vm}/{point} in {one} and in {other} have different witnesses, so one of the two was changed "
            "after it was published; `sendense verify --witness FILE` says which, and --repository NAME "
            "takes the other"
        )


@dataclass(frozen=True)
class _Held:
    """What a repository has under the name."""

    place: Place
    found: lookup.Found
    vm: VmDirectory

    @property
    def point(self) -> str:
        return posixpath.basename(self.found.path)

    @property
    def entry(self) -> Entry | None:
        """None: it cannot be read."""
        return self.vm.chains.by_name.get(self.point)

    @property
    def why_not_it(self) -> str:
        """Of a newest point that is passed over for an older one; empty where it is none."""
        entry = self.vm.newest
        why = None if entry is None else self.vm.chains.why_not_good(entry)
        return (
            "" if entry is None or why is None else f"{entry.point} in {self.place.name} is not good: {why}"
        )

    def at(self, point: str) -> _Held | None:
        """The point of that name in the same repository."""
        if point not in self.vm.chains.by_name and point not in self.vm.unread_points:
            return None
        return replace(self, found=lookup.Found(posixpath.join(self.vm.path, point)))

    def rank(self) -> tuple[bool, float, str]:
        """Of the newest points of several repositories the greatest is meant."""
        entry = self.entry
        if entry is None:
            return False, 0.0, self.point
        return self.vm.chains.good(entry), entry.moment.timestamp(), self.point


def find(places: Sequence[Place], name: str, of_whom: Callable[[Place], str | None] | None = None) -> Chosen:
    """The point that `name` means; `of_whom` gives the name to look for in a repository, and None where it
    has nothing of the VM. What cannot be read is passed over with a note while another repository has the
    point. Raises NoSuchPointError, AmbiguousPointError, AmbiguousVmError, SeveralVmsError,
    SeveralPointsError, RewrittenError, and of a repository that cannot be read what `lookup.find` does."""
    found, unread = _candidates(places, name, of_whom)
    if not found:
        raise next(iter(unread.values()), _no_such(places, name))
    if len(found) == 1 and not unread:
        place, one = found[0]
        return Chosen(place, one.path, () if one.note is None else (one.note,))
    held = _held(found, unread)
    meant = _meant(name, held)
    where = [at for one in held if (at := one.at(meant.point)) is not None]
    _refuse_rewritten(where)
    chosen, passed_over = _first_sound(where)
    using = f"using {chosen.point} in {chosen.place.name}"
    notes = [f"repository {one} cannot be read: {error.message}" for one, error in unread.items()]
    notes += [f"{chosen.point} in {one} is not trusted: {'; '.join(why)}" for one, why in passed_over.items()]
    notes += [one.why_not_it for one in held if one.found.newest and one.rank() < meant.rank()]
    told = (f"{note}; {using}" for note in notes if note)
    others = [one for one in where[where.index(chosen) + 1 :] if not standing.of(one.vm, one.point).doubts]
    return Chosen(
        chosen.place,
        chosen.found.path,
        (*told, *filter(None, (meant.found.note,))),
        tuple((one.place.name, one.found.path) for one in others),
    )


def find_first(
    places: Sequence[Place], name: str, of_whom: Callable[[Place], str | None] | None = None
) -> Chosen:
    """As `find`, in the first repository that has the point, whatever speaks against it there: what is to be
    done is done to that one. Nothing is passed over."""
    for place in places:
        found, unread = _candidates((place,), name, of_whom)
        if unread:
            raise unread[place.name]
        if found:
            return Chosen(place, found[0][1].path, tuple(filter(None, (found[0][1].note,))))
    raise _no_such(places, name)


def _candidates(
    places: Sequence[Place], name: str, of_whom: Callable[[Place], str | None] | None
) -> tuple[list[tuple[Place, lookup.Found]], dict[str, SendenseError]]:
    """At most one of each repository; and why repositories could not be looked at, by their names. Raises
    AmbiguousPointError, and what `lookup.candidates` does for a name that is ambiguous."""
    found: list[tuple[Place, lookup.Found]] = []
    unread: dict[str, SendenseError] = {}
    for place in places:
        try:
            wanted = name if of_whom is None else of_whom(place)
            own = [] if wanted is None else lookup.candidates(place.host, place.path, wanted)
        except (Interrupted, UsageError):
            raise
        except SendenseError as error:
            unread[place.name] = error
            continue
        if len(own) > 1:
            raise lookup.ambiguous(place.host, name, [one.path for one in own])
        found += [(place, one) for one in own]
    return found, unread


def _no_such(places: Sequence[Place], name: str) -> lookup.NoSuchPointError:
    where = " and ".join(f"{place.path} on {place.host.name}" for place in places)
    return lookup.NoSuchPointError(name, where)


def _held(found: Sequence[tuple[Place, lookup.Found]], unread: dict[str, SendenseError]) -> list[_Held]:
    """Adds to `unread`. Raises the error of the first of them where none can be read."""
    held = []
    for place, one in found:
        try:
            held.append(_Held(place, one, reader.read(place.host, posixpath.dirname(one.path))))
        except Interrupted:
            raise
        except SendenseError as error:
            unread[place.name] = error
    if not held:
        raise next(iter(unread.values()))
    return held


def _meant(name: str, held: Sequence[_Held]) -> _Held:
    """Of newest points the newest good one. Raises SeveralPointsError."""
    newest = all(one.found.newest for one in held)
    if len({one.vm.uuid for one in held}) > 1 or (not newest and len({one.point for one in held}) > 1):
        raise SeveralPointsError(
            name, [f"{layout.slug_of(one.vm.path)}/{one.point} in {one.place.name}" for one in held]
        )
    return max(held, key=_Held.rank) if newest else held[0]


def _refuse_rewritten(where: Sequence[_Held]) -> None:
    """Raises RewrittenError."""
    known = [(one, witness.digest(one.entry.manifest)) for one in where if one.entry is not None]
    for one, digest in known[1:]:
        if digest != known[0][1]:
            raise RewrittenError(one.vm.vm_name, one.point, known[0][0].place.name, one.place.name)


def _first_sound(where: Sequence[_Held]) -> tuple[_Held, dict[str, tuple[str, ...]]]:
    """And what speaks against those before it, by their repositories' names. The first of all where something
    speaks against each of them."""
    passed_over: dict[str, tuple[str, ...]] = {}
    for one in where:
        doubts = standing.of(one.vm, one.point).doubts
        if not doubts and (len(where) == 1 or (wrong := _wrong(one)) is None):
            return one, passed_over
        passed_over[one.place.name] = doubts or (str(wrong),)
    return where[0], {}


def _wrong(one: _Held) -> str | None:
    """Why its images cannot be opened, though their marks and manifests say nothing against them."""
    try:
        stored.read(one.place.host, one.place.path, one.found.path)
    except Interrupted:
        raise
    except SendenseError as error:
        return error.message
    return None
