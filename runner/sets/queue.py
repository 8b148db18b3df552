"""Who may begin next: pure, with no clock of its own.

A request is admitted with all of its claims or not at all, and no limit is ever passed. What fits goes in the
order of priority, then of the oldest good point. A request that does not fit may be passed by later ones that
do, `PASSES` times; from then on it reserves: whatever becomes free of what it needs is kept for it.

Requests of one owner with the same claims fit together or not at all, so they are one `Kind`, and only its
first is ever tried. A kind that does not fit is parked at the resource that has not enough left, and is
tried again when that has: an admission or a release costs what it wakes, not what waits.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterator

from runner.sets.request import Request
from runner.sets.waiting import MINE, NEW, Group, Key, Kind, Lack, Resource, Waiting
from runner.step.items import Claim

PASSES = 50
"""How often a request that does not fit is passed by later ones that do. Fewer empty hosts for large VMs: in
the simulation of `tests/bench/admission.py` 10 leave 72 % of the places of node hosts busy, 20 78 %, 50 85 %.
Without an end it is 99 %, and large VMs come last of all."""


class CountDown:
    """How many more may begin."""

    def __init__(self, room: int) -> None:
        self.left = room

    def one_more(self, owner: str = MINE) -> bool:
        self.left -= 1
        return self.left >= 0


class Queue:
    """Of what this runner asks for, and of what others ask of the same resources."""

    def __init__(self, *, passes: int = PASSES) -> None:
        self._passes = passes
        self._resources: dict[str, Resource] = {NEW: Resource()}
        self._kinds: dict[tuple[str, tuple[Claim, ...]], Kind] = {}
        self._waiting: dict[str, Waiting] = {}
        self._holding: dict[str, tuple[Claim, ...]] = {}
        self._reserving: list[Waiting] = []
        """By arrival, which all runners agree on: each gives way to those before it alone."""
        self._arrivals: list[tuple[float, Key, Waiting]] = []
        self._woken: set[str] = set()
        """Resources of which more may be left than when their parked kinds were tried."""
        self._entries = 0
        self._counts: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def holding(self) -> dict[str, tuple[Claim, ...]]:
        """Id → its claims. Not to be changed."""
        return self._holding

    def waiting(self, owner: str = MINE) -> Iterator[Waiting]:
        return (one for one in self._waiting.values() if one.owner == owner)

    def count(self, owner: str) -> int:
        """How many of that owner wait."""
        return self._counts[owner]

    def is_waiting(self, identity: str) -> bool:
        return identity in self._waiting

    def used(self, resource: str) -> int:
        found = self._resources.get(resource)
        return 0 if found is None else found.used

    def is_held(self, resource: str) -> bool:
        """Whether anybody works who named it, though it may take nothing that is counted."""
        found = self._resources.get(resource)
        return found is not None and bool(found.limits)

    def put(
        self, request: Request, now: float, *, since: float | None = None, owner: str = MINE, passed: int = 0
    ) -> None:
        """`now` is when `request.age` was told, seconds since the epoch. Putting what waits or holds raises
        ValueError."""
        if request.id in self._waiting or request.id in self._holding:
            raise ValueError(f"{request.id} is in the queue already")
        since = now if since is None else since
        key = (request.priority, now - request.age, since, request.id)
        self._join(Waiting(request, key, since, owner, passed))

    def put_back(self, one: Waiting) -> None:
        """What was admitted, and could not be: it waits again, as it did before."""
        self.release(one.request.id)
        self._join(Waiting(one.request, one.key, one.since, one.owner, one.passed))

    def withdraw(self, identity: str) -> Request | None:
        """None if it does not wait."""
        if (one := self._waiting.get(identity)) is None:
            return None
        self._leave(one)
        return one.request

    def hold(self, identity: str, claims: tuple[Claim, ...], order: Waiting | None = None) -> None:
        """What is held whatever is left: somebody was admitted elsewhere, or was before we looked. `order`
        tells whom that passed."""
        self._holding[identity] = claims
        for claim in claims:
            resource = self._resource(claim.resource)
            resource.used += claim.amount
            resource.limits[claim.limit] += 1
        if order is not None and not order.reserves:
            self._count_passed(order)

    def release(self, identity: str) -> None:
        """What is not held is fine."""
        for claim in self._holding.pop(identity, ()):
            resource = self._resource(claim.resource)
            resource.used -= claim.amount
            resource.limits[claim.limit] -= 1
            if not resource.limits[claim.limit]:
                del resource.limits[claim.limit]
            self._woken.add(claim.resource)

    def set_capacity(self, resource: str, amount: float) -> None:
        """What was measured of a resource, beside the limits of claims; it may become less than is used."""
        self._resource(resource).capacity = amount
        self._woken.add(resource)

    def admit(self, may_begin: Callable[[str], bool]) -> list[Waiting]:
        """Those that hold their claims from now on, in order. `may_begin(owner)`: whether that owner can
        start one more; it is asked once for each that fits, and counts those that it agreed to. It ends
        where this runner cannot."""
        admitted: list[Waiting] = []
        for one in tuple(self._reserving):
            if self._lack(one) is None and may_begin(one.owner):
                self._take(one)
                admitted.append(one)
        tops = [(kind.entered, name) for name in self._woken if (kind := self._first(name)) is not None]
        heapq.heapify(tops)
        aside: list[Kind] = []
        while tops:
            key, name = heapq.heappop(tops)
            if (kind := self._first(name)) is None:
                continue
            if kind.entered != key:
                heapq.heappush(tops, (kind.entered, name))
                continue
            head = kind.head()
            assert head is not None, "an entry of a kind that nobody waits in"
            lack = self._lack(head)
            if lack is not None:
                head.passed += name != NEW  # what it waited for before will be somebody else's again
                self._park(kind, lack.claim)
                self._reserve_if_due(head)
            elif may_begin(head.owner):
                self._take(head)
                admitted.append(head)
            elif head.owner == MINE:
                break
            else:
                self._unpark(kind)
                aside.append(kind)
            if (kind := self._first(name)) is not None:
                heapq.heappush(tops, (kind.entered, name))
        else:
            self._woken.clear()
        for kind in aside:
            self._enter(kind)
        return admitted

    def waits_for(self, identity: str) -> Lack | None:
        """None if all it needs is there: it was not tried since, or cannot be started yet."""
        return self._lack(self._waiting[identity])

    def foremost(self, count: int) -> list[Waiting]:
        """Of this runner's, in order: those that reserve, and the first at each resource that has not enough
        for it."""
        first = (self._first_parked(name, MINE) for name in tuple(self._resources))
        found = [*(one for one in self._reserving if one.owner == MINE), *filter(None, first)]
        return sorted(found, key=lambda one: (not one.reserves, one.key))[:count]

    def first_at(self, resource: str) -> Waiting | None:
        """Of this runner's, the first that waits for that resource."""
        return self._first_parked(resource, MINE)

    def lack_of(self, one: Waiting, resource: str) -> Lack | None:
        """Whether that resource has not enough left for it."""
        for claim in one.request.claims:
            if claim.resource == resource:
                return self._lacking(one, claim)
        return None

    # Within.

    def _join(self, one: Waiting) -> None:
        self._waiting[one.request.id] = one
        self._counts[one.owner] += 1
        heapq.heappush(self._arrivals, (one.since, one.key, one))
        if one.passed >= self._passes:
            self._reserve(one)
            return
        claims = one.request.claims
        kind = self._kinds.setdefault((one.owner, claims), Kind(one.owner, claims))
        heapq.heappush(kind.waiting, one)
        self._enter(kind)

    def _resource(self, name: str) -> Resource:
        if (found := self._resources.get(name)) is None:
            found = self._resources[name] = Resource()
        return found

    def _lack(self, one: Waiting) -> Lack | None:
        lacks = (self._lacking(one, claim) for claim in one.request.claims)
        return next((lack for lack in lacks if lack is not None), None)

    def _lacking(self, one: Waiting, claim: Claim) -> Lack | None:
        resource = self._resource(claim.resource)
        left = resource.left(claim.limit)
        kept = self._kept_from(one, claim.resource) if one.reserves else resource.reserved
        return Lack(claim, int(left), reserved=claim.amount <= left) if claim.amount > left - kept else None

    def _kept_from(self, one: Waiting, resource: str) -> int:
        """What those that reserve before it keep of a resource."""
        kept = 0
        for other in self._reserving:
            if other is one:
                break
            kept += sum(claim.amount for claim in other.request.claims if claim.resource == resource)
        return kept

    def _take(self, one: Waiting) -> None:
        reserved = one.reserves
        self._leave(one)
        self.hold(one.request.id, one.request.claims)
        if not reserved:
            self._count_passed(one)

    def _leave(self, one: Waiting) -> None:
        one.gone = True
        del self._waiting[one.request.id]
        self._counts[one.owner] -= 1
        if one.reserves:
            self._reserving.remove(one)
            for claim in one.request.claims:
                self._resource(claim.resource).reserved -= claim.amount
                self._woken.add(claim.resource)
            return
        kind = self._kinds[one.owner, one.request.claims]
        if kind.head() is None:
            self._unpark(kind)
            del self._kinds[one.owner, one.request.claims]

    def _count_passed(self, taken: Waiting) -> None:
        """Who did not fit and came before it: the first at each resource that it took of, and the one that
        waits longest of all."""
        overtaken = [self._first_parked(claim.resource) for claim in taken.request.claims]
        for one in {id(one): one for one in overtaken if one is not None and one < taken}.values():
            one.passed += 1
            self._reserve_if_due(one)
        longest = self._longest()
        if longest is not None and longest.since < taken.since and _share(longest, taken):
            longest.passed += 1
            self._reserve_if_due(longest)

    def _longest(self) -> Waiting | None:
        while self._arrivals and (self._arrivals[0][2].gone or self._arrivals[0][2].reserves):
            heapq.heappop(self._arrivals)
        return self._arrivals[0][2] if self._arrivals else None

    def _reserve_if_due(self, one: Waiting) -> None:
        if one.passed >= self._passes and not one.reserves:
            kind = self._kinds[one.owner, one.request.claims]
            self._reserve(one)
            if kind.head() is None:
                self._unpark(kind)
                del self._kinds[one.owner, one.request.claims]

    def _reserve(self, one: Waiting) -> None:
        one.reserves = True
        self._reserving.append(one)
        self._reserving.sort(key=lambda other: (other.since, other.key))
        for claim in one.request.claims:
            self._resource(claim.resource).reserved += claim.amount

    def _enter(self, kind: Kind) -> None:
        """Its head as an entry where it is parked, if it is another than before."""
        head = kind.head()
        if head is None or kind.entered == head.key:
            return
        kind.entered = head.key
        self._entries += 1
        heap = self._resource(kind.at).parked.setdefault(kind.group, [])
        heapq.heappush(heap, (head.key, self._entries, kind))
        if kind.at == NEW:
            self._woken.add(NEW)

    def _park(self, kind: Kind, claim: Claim) -> None:
        self._unpark(kind)
        kind.at, kind.group = claim.resource, (claim.amount, claim.limit, kind.owner)
        self._enter(kind)

    def _unpark(self, kind: Kind) -> None:
        """Its entry is void from now on."""
        kind.at, kind.group, kind.entered = NEW, (0, 0, kind.owner), None

    def _top(self, name: str, group: Group) -> Kind | None:
        """The first kind of the group."""
        heap = self._resources[name].parked.get(group, [])
        while heap:
            key, _, kind = heap[0]
            if kind.at == name and kind.group == group and kind.entered == key:
                head = kind.head()
                if head is not None and head.key == key:
                    return kind
                heapq.heappop(heap)
                self._enter(kind)
            else:
                heapq.heappop(heap)
        self._resources[name].parked.pop(group, None)
        return None

    def _first(self, name: str) -> Kind | None:
        """The first kind parked there for which enough is left there."""
        resource = self._resources.get(name)
        if resource is None:
            return None
        found: Kind | None = None
        for group in tuple(resource.parked):
            amount, limit, _ = group
            if name == NEW or amount <= resource.left(limit) - resource.reserved:
                found = _earlier(found, self._top(name, group))
        return found

    def _first_parked(self, name: str, owner: str | None = None) -> Waiting | None:
        """The first that waits for it, whether enough is left of it or not."""
        resource, found = self._resource(name), None
        for group in tuple(resource.parked):
            if owner in (None, group[2]):
                found = _earlier(found, self._top(name, group))
        return None if found is None else found.head()


def _earlier(one: Kind | None, other: Kind | None) -> Kind | None:
    if one is None or other is None:
        return one or other
    assert one.entered is not None and other.entered is not None
    return one if one.entered <= other.entered else other


def _share(one: Waiting, other: Waiting) -> bool:
    mine = {claim.resource for claim in one.request.claims}
    return any(claim.resource in mine for claim in other.request.claims)
