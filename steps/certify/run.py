"""Trying all of it on one vCenter, with a scratch VM that goes in the end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from runner.base.errors import Interrupted, LockedError, SendenseError
from runner.base.units import MINUTE
from runner.base.waiting import Deadline
from steps.certify import leftovers, table
from steps.certify.nameless import nameless
from steps.certify.outcomes import NotTried
from steps.certify.place import Chosen
from steps.certify.report import Behaviour, Report
from steps.certify.scratch import Scratch
from steps.certify.trial import Trial
from steps.vsphere import creation
from steps.vsphere.client import Client

REMOVAL_DEADLINE = 10 * MINUTE


def certify(client: Client, chosen: Chosen, run: str, told: Callable[[Behaviour], None]) -> Report:
    """`told` hears of each behaviour as soon as it was tried. Raises LockedError while another certify is at
    work in that folder, and what keeps the vCenter from answering; what it made is removed in any case."""
    clear(client, chosen.place.folder)
    scratch = Scratch(client, chosen.place, run)
    names = (*chosen.names, scratch.name)
    found: list[Behaviour] = []

    def note(behaviour: Behaviour) -> None:
        found.append(behaviour)
        told(behaviour)

    try:
        _ = scratch.vm
        for trial in table.TRIALS:
            note(_tried(scratch, trial, names))
    except BaseException:
        with suppress(SendenseError):  # why it failed matters more; what stays has its mark
            _remove(client, chosen, run)
        raise
    _remove(client, chosen, run)
    for one in table.UNTRIED:
        note(Behaviour(number=one.number, what=one.what, verdict="not tried", seen=one.why))
    return Report(product=client.version, storage=chosen.place.storage, behaviours=tuple(found))


def _remove(client: Client, chosen: Chosen, run: str) -> None:
    """Also after a stop."""
    Scratch(client.until(Deadline(REMOVAL_DEADLINE)), chosen.place, run).remove()


def _tried(scratch: Scratch, trial: Trial, names: tuple[str, ...]) -> Behaviour:
    made = Behaviour(number=trial.number, what=trial.what, verdict="as assumed")
    try:
        seen = trial.run(scratch)
    except NotTried as why:
        return made.model_copy(update={"verdict": "not tried", "seen": str(why)})
    except Interrupted:
        raise
    except SendenseError as error:
        if error.transient or error.fix_first:
            raise
        return made.model_copy(update={"verdict": "not tried", "seen": nameless(error.message, names)})
    if seen is None:
        return made
    return made.model_copy(update={"verdict": "other", "seen": nameless(seen, names)})


def clear(client: Client, folder: str) -> None:
    """Removes what a killed certify left in the folder (moref). Raises LockedError for one that may be at
    work."""
    creation.settle(client, folder)
    for marked in leftovers.found(client, folder):
        mark = marked.mark
        if mark is not None and (why := leftovers.why_it_stays(mark)):
            said = (
                f"the scratch VM {marked.name} is in that folder: {why}; wait for it, or remove it in vSphere"
            )
            raise LockedError("the folder", mark.holder, sentence=said)
        leftovers.remove(client, marked)
