"""Free space that a run needs: what its nodes will still write to one place, summed, against what is free
there."""

from __future__ import annotations

from collections.abc import Iterable

from runner.base.model import Model
from runner.base.units import human_bytes
from runner.events.check_results import Observation, good, noted, wrong


class Space(Model):
    """What one node is still to write. Sizes in bytes."""

    host: str
    """The job's name of the host."""
    path: str
    """A directory there that exists: what is free is what is free for it."""
    free: int
    least: int
    """That it takes in any case, as far as anybody can say before it is read."""
    most: int
    """The most that it may take, as far as anybody can say."""
    of: str
    """What it is of, and how these are known: ``disk 2000: 80.0 MiB allocated of 96.0 MiB``."""


class SpaceNeeded(Model):
    """What all nodes that write to one place need there."""

    host: str
    path: str
    free: int
    least: int
    most: int
    of: tuple[str, ...]

    @property
    def fits(self) -> str:
        """``yes``, ``perhaps`` or ``no``."""
        return "no" if self.least > self.free else "perhaps" if self.most > self.free else "yes"

    @property
    def sentence(self) -> str:
        needed = human_bytes(self.least)
        if self.most != self.least:
            needed = (
                f"{needed} at least, up to {human_bytes(self.most)}"
                if self.least
                else f"up to {human_bytes(self.most)}"
            )
        return f"{needed} needed in {self.path} on {self.host}, {human_bytes(self.free)} free"

    @property
    def problem(self) -> str | None:
        return f"{self._told('it does not fit')}; {self._remedy}" if self.fits == "no" else None

    @property
    def note(self) -> str | None:
        return self._told("it may not fit") if self.fits == "perhaps" else None

    def observation(self) -> Observation:
        subject, looked_at = (
            f"host {self.host}",
            f"free space in {self.path} for everything that will be written there",
        )
        if self.fits == "no":
            return wrong(subject, looked_at, self._told("it does not fit"), self._remedy)
        return (
            good(subject, looked_at, self.sentence)
            if self.note is None
            else noted(subject, looked_at, self.note)
        )

    @property
    def _remedy(self) -> str:
        return f"free at least {human_bytes(self.least - self.free)} there, or write to another disk"

    def _told(self, verdict: str) -> str:
        return f"{self.sentence}: {verdict} ({'; '.join(self.of)})"


def summed(found: Iterable[Space]) -> tuple[SpaceNeeded, ...]:
    """One for each place, in the order of the first that need it."""
    places: dict[tuple[str, str], list[Space]] = {}
    for one in found:
        places.setdefault((one.host, one.path), []).append(one)
    return tuple(
        SpaceNeeded(
            host=host,
            path=path,
            # Others write there meanwhile: what was seen last holds.
            free=several[-1].free,
            least=sum(one.least for one in several),
            most=sum(one.most for one in several),
            of=tuple(one.of for one in several),
        )
        for (host, path), several in places.items()
    )
