"""What holds of each step that is installed, whatever it does."""

from __future__ import annotations

import inspect

import pytest

from runner.step.preflight import Known, Preflight
from runner.step.registry import Registry
from runner.step.step import Given, Lifetime, Step

STEPS = Registry.installed().steps
PROCESSES = {name for name, step in STEPS.items() if step.lifetime is Lifetime.PROCESS}
FIVE = {"check", "run", "undo", "preflight", "report"}


@pytest.mark.parametrize("name", STEPS)
def test_without_a_context_and_inputs_it_tells_its_settings_alone(name: str) -> None:
    found = STEPS[name].preflight(None, Known())
    assert found == Preflight(settings=found.settings)


@pytest.mark.parametrize("name", STEPS)
def test_it_has_what_its_lifetime_asks_for_and_no_more(name: str) -> None:
    step = type(STEPS[name])
    own = {name for name in vars(step) if inspect.isfunction(getattr(Step, name, None))}
    lasting = {"leftover", "retained", *(["committed"] if step.commits else [])}
    lasting |= {"endangered"} if step.lifetime is Lifetime.JOB else set()
    assert own <= FIVE | ({"probe"} if name in PROCESSES else lasting)
    assert not (step.guard and name not in PROCESSES)
    assert not ((step.commits or step.read_only) and step.lifetime is not Lifetime.KEEP)


@pytest.mark.parametrize("name", sorted(PROCESSES))
def test_what_a_process_gives_is_never_recorded(name: str) -> None:
    assert issubclass(STEPS[name].Out, Given)
