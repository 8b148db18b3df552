"""The executor, with steps that leave traces: what runs, what is kept, what is rolled back, whatever fails."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from runner.app.outcome import verdict_of
from runner.base.errors import HostError, LockedError, LockLostError, SendenseError, UsageError
from runner.engine.readiness import Fault, NotReady, Unready
from runner.events.check_results import met, wrong
from runner.events.events import NodeFailed, NodeKept, NodeRetrying, NodeSkipped, NodeStarted
from runner.hosts.held_lock import HeldLock
from runner.job.model import StepSpec
from tests.runner.toys import EACH, Bench, Held, Hold, backup_like

RUNS = [
    "run copy[1]",
    "run copy[2]",
    "run hold",
    "run join",
    "run make[1]",
    "run make[2]",
    "run prove[1]",
    "run prove[2]",
]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr("runner.engine.retry.FIRST_WAIT", 0.01)
    (tmp_path / "items").write_text("2=two 1=one")
    return Bench(tmp_path, backup_like(tmp_path))


def runs(trace: list[str]) -> list[str]:
    return sorted(line for line in trace if line.startswith("run "))


def fail(bench: Bench, node: str, how: str) -> None:
    (bench.root / f"fail-{node}").write_text(how)


def left_over(bench: Bench) -> list[str]:
    return sorted(path.name for path in bench.root.glob("socket-*")) + sorted(
        path.name for path in bench.root.glob("moment-*")
    )


@pytest.mark.parametrize("jobs", [1, 4], ids=["one-at-a-time", "in-parallel"])
def test_every_node_runs_once_and_everything_is_closed(bench: Bench, jobs: int):
    bench.jobs = jobs
    outcome = bench.run()
    assert outcome.work_done
    assert not outcome.failures
    trace = bench.trace()
    assert runs(trace) == RUNS
    assert left_over(bench) == []
    opened = sorted(line[5:] for line in trace if line.startswith("open "))
    assert opened == sorted(line[6:] for line in trace if line.startswith("close "))


def test_a_process_is_closed_before_what_follows_its_last_user_starts(bench: Bench):
    bench.run()
    trace = bench.trace()
    for key in (1, 2):
        assert (
            trace.index(f"close relay[{key}]") < trace.index(f"close serve[{key}]") < trace.index(f"open again[{key}]")
        )


def test_what_follows_waits_for_a_slow_close_also_when_another_node_ends_meanwhile(bench: Bench):
    fail(bench, "copy[2]", "until close relay[1]")
    fail(bench, "close-serve[1]", "until run prove[2]")
    bench.run()
    trace = bench.trace()
    assert trace.index("run prove[2]") < trace.index("close serve[1]") < trace.index("open again[1]")


@pytest.mark.parametrize(
    "waits",
    [
        pytest.param({"near[1]": "until open relay[1]"}, id="opening"),
        pytest.param({"far[1]": "until open near[1]"}, id="opening-the-other"),
        pytest.param({"close-near[1]": "until close relay[1]"}, id="closing"),
        pytest.param({"close-far[1]": "until close near[1]"}, id="closing-the-other"),
        pytest.param({"close-relay[1]": "until close near[1]"}, id="closing-what-another-waits-for"),
    ],
)
def test_what_does_not_depend_on_each_other_opens_and_closes_side_by_side(bench: Bench, waits: dict[str, str]):
    """Each waits for one that would come after it if they came one by one."""
    bench.steps = _bridged(bench.root)
    for node, how in waits.items():
        fail(bench, node, how)
    assert bench.run().work_done
    trace = bench.trace()
    assert trace.index("open far[1]") < trace.index("open relay[1]") < trace.index("run bridge[1]")
    assert trace.index("close relay[1]") < trace.index("close far[1]")
    assert left_over(bench) == []


def test_where_one_side_does_not_open_the_other_is_closed(bench: Bench):
    bench.steps = _bridged(bench.root)
    fail(bench, "near[1]", "permanent")
    outcome = bench.run()
    assert [node for node, _ in outcome.failures] == ["near[1]"]
    trace = bench.trace()
    assert "run bridge[1]" not in trace
    assert sorted(line[5:] for line in trace if line.startswith("open ")) == sorted(
        line[6:] for line in trace if line.startswith("close ")
    )


def _bridged(root: Path) -> tuple[StepSpec, ...]:
    (root / "items").write_text("1=one")
    base = {"root": str(root)}
    return (
        StepSpec("look", "look", base),
        StepSpec("make", "make", {**base, "item": "${{ item }}"}, EACH),
        StepSpec("near", "serve", {**base, "made": "${{ make }}"}, EACH),
        StepSpec("far", "serve", {**base, "made": "${{ make }}"}, EACH),
        StepSpec("relay", "relay", {**base, "served": "${{ far }}"}, EACH),
        StepSpec("bridge", "bridge", {**base, "near": "${{ near }}", "far": "${{ relay }}"}, EACH),
    )


def test_only_a_run_that_has_changed_nothing_looks_early(bench: Bench):
    looked: list[list[str]] = []

    @contextmanager
    def looking() -> Iterator[None]:
        looked.append(bench.trace())
        yield

    bench.look_early = looking
    fail(bench, "copy[2]", "permanent")
    assert not bench.run().work_done
    assert bench.run().work_done
    assert looked == [[]]


def test_work_is_not_done_before_the_nodes_of_a_list_are(bench: Bench):
    """A run that is killed between would be taken for done."""
    moment = {"root": str(bench.root), "item": "${{ item }}", "speed": 1, "moment": "now"}
    bench.steps = (StepSpec("look", "look", {"root": str(bench.root)}), StepSpec("make", "make", moment, EACH))
    done: list[list[str]] = []
    bench.work_done = lambda: done.append(bench.trace())
    assert bench.run().work_done
    assert sorted(done[0]) == ["run make[1]", "run make[2]"]


def test_a_guard_is_open_round_all_that_changes_something(bench: Bench):
    bench.run()
    trace = bench.trace()
    assert trace[0] == "open guard"
    assert trace[-1] == "close guard"
    assert trace[-2] == "undo hold"


@pytest.mark.parametrize("cleanup", [True, False], ids=["with-cleanup-step", "without"])
def test_a_job_node_is_held_after_a_failure_and_taken_back_at_success(bench: Bench, cleanup: bool):
    bench.steps = backup_like(bench.root, cleanup=cleanup)
    fail(bench, "copy[2]", "permanent")
    assert not bench.run().work_done
    assert left_over(bench) == [f"moment-{bench.run_id}"]
    assert "undo hold" not in bench.trace()
    assert bench.run().work_done
    assert "undo hold" in bench.trace()
    assert left_over(bench) == []


def why_skipped(bench: Bench) -> dict[str, str]:
    return {event.node: event.because for event in bench.events if isinstance(event, NodeSkipped)}


def with_one_after_the_end(bench: Bench) -> None:
    after = {"root": str(bench.root), "parts": "${{ prove }}"}
    bench.steps = (*bench.steps, StepSpec("after", "join", after, needs=("end",), when="always"))


def test_a_node_of_the_end_waits_for_those_that_it_needs(bench: Bench):
    with_one_after_the_end(bench)
    assert bench.run().work_done
    assert bench.trace()[-3:] == ["undo hold", "run after", "close guard"]


def test_a_node_of_the_end_that_was_to_be_given_what_failed_is_skipped_for_that(bench: Bench):
    with_one_after_the_end(bench)
    fail(bench, "copy[2]", "permanent")
    assert not bench.run().work_done
    assert "run after" not in bench.trace()
    assert why_skipped(bench)["after"] == "copy[2] failed"
    bench.stop.set()
    bench.run()
    assert why_skipped(bench)["after"] == "the run was stopped"


def test_a_node_of_the_end_names_what_kept_its_list_from_being_known(bench: Bench):
    unlocked = {"look", "make", "serve", "relay", "copy", "again", "prove"}
    bench.steps = tuple(spec for spec in bench.steps if spec.id in unlocked)
    bench.steps = tuple(
        replace(spec, with_={name: value for name, value in spec.with_.items() if name != "moment"})
        for spec in bench.steps
    )
    after = {"root": str(bench.root), "parts": "${{ prove }}"}
    bench.steps = (*bench.steps, StepSpec("after", "join", after, when="always"))
    fail(bench, "look", "permanent")
    bench.run()
    assert why_skipped(bench)["after"] == "look failed"


@pytest.mark.parametrize(
    ("node", "again"),
    [
        ("look", RUNS),
        ("hold", RUNS),
        ("make[2]", ["run copy[2]", "run join", "run make[2]", "run prove[2]"]),
        ("serve[2]", ["run copy[2]", "run join", "run prove[2]"]),
        ("relay[2]", ["run copy[2]", "run join", "run prove[2]"]),
        ("copy[2]", ["run copy[2]", "run join", "run prove[2]"]),
        ("again[1]", ["run join", "run prove[1]"]),
        ("prove[1]", ["run join", "run prove[1]"]),
        ("join", ["run join"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_after_a_failure_only_the_needed_nodes_run_again(bench: Bench, node: str, again: list[str]):
    fail(bench, node, "permanent")
    first = bench.run()
    assert [str(error) for _, error in first.failures] == [f"{node} is broken"]
    assert [path.name for path in bench.root.glob("socket-*")] == []
    bench.trace()
    second = bench.run()
    assert second.work_done
    assert runs(bench.trace()) == again


def test_the_other_disks_finish_when_one_fails_and_only_dependents_are_skipped(bench: Bench):
    fail(bench, "copy[1]", "permanent")
    bench.run()
    assert "run prove[2]" in bench.trace()
    skipped = {event.node: event.because for event in bench.events if isinstance(event, NodeSkipped)}
    assert skipped == {"prove[1]": "copy[1] failed", "join": "copy[1] failed"}


def test_work_done_but_not_recorded_is_adopted(bench: Bench):
    fail(bench, "after-make[1]", "bug")  # the file is there, the record says intent
    with pytest.raises(RuntimeError):
        bench.run()
    assert left_over(bench) == [f"moment-{bench.run_id}"]
    bench.trace()
    bench.stop = threading.Event()
    assert bench.run().work_done
    assert "run make[1]" not in bench.trace()
    kept = {event.node: event.why for event in bench.events if isinstance(event, NodeKept)}
    assert "kept it from being recorded" in kept["make[1]"]


def test_what_a_step_left_behind_when_it_failed_is_named_with_what_is_recorded(bench: Bench):
    bench.steps = tuple(replace(spec, uses="build") if spec.id == "make" else spec for spec in bench.steps)
    fail(bench, "after-make[1]", "permanent")
    assert not bench.run().work_done
    named = {one.what for one in bench.named(Guard(HostError("hub cannot be reached", transient=True)))}
    assert {"file made-1", "file made-2"} <= named


def test_a_moment_that_was_not_recorded_is_held_no_longer_than_another(bench: Bench):
    fail(bench, "hold", "bug")  # it is taken, the record says intent
    with pytest.raises(RuntimeError):
        bench.run()
    (bench.root / "hold-over").touch()
    bench.trace()
    bench.stop = threading.Event()
    assert bench.run().work_done
    trace = bench.trace()
    assert trace.index("undo hold") < trace.index("run hold")


def test_what_is_done_is_recorded_though_the_state_is_out_of_reach_for_a_while(bench: Bench):
    outages = [HostError("hub cannot be reached", transient=True)]

    def record() -> None:
        if outages:
            raise outages.pop()

    bench.work_done = record
    outcome = bench.run()
    assert outcome.work_done and not outcome.failures
    assert left_over(bench) == []


def test_a_state_that_stays_out_of_reach_fails_the_run_with_its_sentence(bench: Bench):
    def record() -> None:
        raise HostError("hub is another machine now")

    bench.work_done = record
    assert [str(error) for _, error in bench.run().failures] == ["hub is another machine now"]


def test_a_step_that_the_job_has_no_more_is_no_stumbling_block(bench: Bench):
    steps = bench.steps
    bench.steps = (StepSpec("before", "join", {"root": str(bench.root), "parts": []}), *steps)
    fail(bench, "prove[1]", "permanent")
    bench.run()
    bench.steps = steps
    assert bench.run().work_done


def test_a_result_that_vanished_is_made_again(bench: Bench):
    fail(bench, "join", "permanent")
    bench.run()
    bench.trace()
    (bench.root / "made-1").unlink()
    bench.run()
    assert "run make[1]" in bench.trace()
    started = {event.node: event.why for event in bench.events if isinstance(event, NodeStarted)}
    assert started["make[1]"] == "its result is gone or has changed"


def test_a_step_that_finds_nothing_done_runs_each_time_and_its_reason_says_so(bench: Bench):
    fail(bench, "join", "permanent")
    bench.run()
    bench.run()
    why = [event.why for event in bench.events if isinstance(event, NodeStarted) and event.node == "end"]
    assert why == ["runs each time"]


def test_a_transient_error_opens_anew_what_the_node_stood_on_and_tries_again(bench: Bench):
    fail(bench, "copy[1]", "transient transient")
    assert bench.run().work_done
    trace = bench.trace()
    assert trace.count("run copy[1]") == 3
    assert trace.count("open relay[1]") == trace.count("close relay[1]") == 3
    assert trace.count("open relay[2]") == 1
    assert trace.count("open guard") == 1
    assert sum(isinstance(event, NodeRetrying) for event in bench.events) == 2


def test_a_transient_error_in_opening_is_tried_again_too(bench: Bench):
    fail(bench, "relay[1]", "transient")
    assert bench.run().work_done
    assert bench.trace().count("run copy[1]") == 1


def test_retries_are_counted(bench: Bench):
    fail(bench, "copy[1]", "transient transient transient transient")
    assert not bench.run().work_done
    assert bench.trace().count("run copy[1]") == 3


def test_a_refused_result_is_made_again_and_the_refusal_remembered(bench: Bench):
    fail(bench, "prove[2]", "difference")
    outcome = bench.run()
    assert [error.exit_code for _, error in outcome.failures] == [5]
    bench.trace()
    assert bench.run().work_done
    trace = bench.trace()
    assert runs(trace) == ["run copy[2]", "run join", "run prove[2]"]
    assert trace.index("undo copy[2]") < trace.index("run copy[2]")
    proved = next(e for e in bench.events if e.type == "node-finished" and e.node == "prove[2]")
    assert proved.output["earlier"] == "{'offset': 7}"


def test_what_heals_is_made_again_in_the_same_run_with_all_that_stands_on_it(bench: Bench):
    fail(bench, "prove[2]", "heals")
    outcome = bench.run()
    assert outcome.work_done and not outcome.failures
    trace = bench.trace()
    assert runs(trace) == sorted([*RUNS, "run make[2]", "run copy[2]", "run prove[2]"])
    assert trace.index("run prove[2]") < trace.index("undo make[2]") < len(trace) - trace[::-1].index("run make[2]")
    (retried,) = [event for event in bench.events if isinstance(event, NodeRetrying)]
    assert (retried.node, retried.error) == ("prove[2]", "prove[2] cannot stand on what was made")
    assert left_over(bench) == []


def test_what_does_not_heal_at_once_fails(bench: Bench):
    fail(bench, "prove[2]", "heals heals")
    outcome = bench.run()
    assert [node for node, _ in outcome.failures] == ["prove[2]"]
    bench.trace()
    assert bench.run().work_done  # what it forgot is made by the next one
    assert runs(bench.trace()) == ["run copy[2]", "run join", "run make[2]", "run prove[2]"]


def test_a_changed_input_makes_stale_exactly_what_depends_on_it(bench: Bench):
    fail(bench, "join", "permanent")
    bench.run()
    bench.trace()
    bench.steps = backup_like(bench.root, speed=9)  # only says how
    fail(bench, "join", "permanent")
    bench.run()
    assert runs(bench.trace()) == ["run join"]
    steps = {step.id: step for step in backup_like(bench.root)}
    changed = steps["make"].__class__("make", "make", {**steps["make"].with_, "moment": "other"}, steps["make"].each)
    bench.steps = tuple({**steps, "make": changed}.values())
    bench.run()
    assert runs(bench.trace()) == [line for line in RUNS if line != "run hold"]
    started = {event.node: event.why for event in bench.events if isinstance(event, NodeStarted)}
    assert started["make[1]"] == "input changed: moment"


def test_a_moment_held_too_long_is_released_and_all_that_came_of_it_is_stale(bench: Bench):
    fail(bench, "join", "permanent")
    bench.run()
    (bench.root / "hold-over").touch()
    bench.trace()
    bench.run()
    trace = bench.trace()
    assert trace.index("undo hold") < trace.index("run hold")


@pytest.mark.parametrize(
    ("failing", "how", "is_there", "made"),
    [
        pytest.param("guard", "locked", False, "make[3]", id="not-begun"),
        pytest.param("hold", "permanent", False, "make[3]", id="failed"),
        pytest.param("hold", "permanent", True, "make[1]", id="taken-and-failed"),
        pytest.param("join", "permanent", False, "make[3]", id="vanished"),
        pytest.param("join", "permanent", True, "", id="there"),
    ],
)
def test_a_new_moment_comes_with_a_new_look_and_an_old_one_with_what_was_seen(
    bench: Bench, failing: str, how: str, is_there: bool, made: str
):
    fail(bench, failing, how)
    assert not bench.run().work_done
    (bench.root / "items").write_text("2=two 3=three")
    if not is_there:
        (bench.root / f"moment-{bench.run_id}").unlink(missing_ok=True)
    bench.trace()
    assert bench.run().work_done
    assert {line for line in bench.trace() if line in ("run make[1]", "run make[3]")} == (
        {f"run {made}"} if made else set()
    )


def test_whether_a_moment_is_there_is_asked_until_it_can_be_seen(bench: Bench):
    fail(bench, "join", "permanent")
    bench.run()
    (bench.root / "items").write_text("2=two 3=three")
    (bench.root / f"moment-{bench.run_id}").unlink()
    bench.trace()
    fail(bench, "look-hold", "permanent")
    refused = bench.run()
    assert [(node, str(error)) for node, error in refused.failures] == [("hold", "look-hold is broken")]
    assert bench.trace() == []
    fail(bench, "look-hold", "transient")
    assert bench.run().work_done
    assert [event.error for event in bench.events if isinstance(event, NodeRetrying)] == ["look-hold had a hiccup"]
    assert "run make[3]" in bench.trace()


def test_a_moment_that_vanishes_after_the_look_is_not_replaced_under_what_was_seen(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    fail(bench, "join", "permanent")
    bench.run()
    (bench.root / "items").write_text("2=two 3=three")
    moment = bench.root / f"moment-{bench.run_id}"
    with monkeypatch.context() as patched:
        # Between two looks of the executor nothing else of this run asks for the moment.
        seen = [None, Held(moment=moment.name)]
        patched.setattr(Hold, "check", lambda *_: seen.pop())
        refused = bench.run()
    assert ["existed a moment ago" in str(error) for _, error in refused.failures] == [True]
    moment.unlink()
    bench.trace()
    assert bench.run().work_done
    assert "run make[3]" in bench.trace()


def test_hold_over_at_the_failure_is_released_at_once(bench: Bench):
    (bench.root / "hold-over").touch()
    fail(bench, "join", "permanent")
    bench.run()
    assert left_over(bench) == []


def test_if_only_taking_back_failed_the_work_counts_as_done(bench: Bench):
    fail(bench, "undo-hold", "permanent")
    outcome = bench.run()
    assert outcome.work_done
    assert outcome.unwind_failures == ["cleanup of hold failed: undo-hold is broken"]
    bench.trace()
    assert not bench.run().unwind_failures
    assert bench.trace() == ["open guard", "undo hold", "close guard"]


def test_taking_back_is_tried_again_after_transient_errors(bench: Bench):
    fail(bench, "undo-hold", "transient transient")
    outcome = bench.run()
    assert outcome.work_done and not outcome.unwind_failures
    assert [event.node for event in bench.events if isinstance(event, NodeRetrying)] == ["hold", "hold"]
    assert left_over(bench) == []


def test_nothing_is_touched_without_the_lock(bench: Bench):
    fail(bench, "guard", "locked")
    outcome = bench.run()
    assert [type(error) for _, error in outcome.failures] == [LockedError]
    assert bench.trace() == []


def test_stopping_leaves_the_run_resumable_and_closes_everything(bench: Bench):
    bench.stop.set()
    outcome = bench.run()
    assert not outcome.work_done
    bench.stop = threading.Event()
    assert bench.run().work_done


def test_a_bug_is_raised_after_everything_was_unwound(bench: Bench):
    fail(bench, "copy[1]", "bug")
    with pytest.raises(RuntimeError, match="a bug in copy"):
        bench.run()
    assert [path.name for path in bench.root.glob("socket-*")] == []
    assert bench.trace()[-1] == "close guard"


def test_a_bug_in_closing_keeps_nothing_else_open_and_nobody_waiting(bench: Bench):
    fail(bench, "close-serve[1]", "bug")
    assert bench.run().work_done
    warnings = [event for event in bench.events if event.type == "warned"]
    assert any("serve[1] did not close: a bug in close-serve[1]" in event.text for event in warnings)
    trace = bench.trace()
    assert {line for line in trace if line.startswith("open")} == {
        "open" + line[5:] for line in trace if line.startswith("close")
    }


def test_when_only_taking_back_is_left_nothing_acts(bench: Bench):
    fail(bench, "undo-hold", "permanent")
    bench.run()
    bench.trace()
    for path in bench.root.glob("made-*"):
        path.unlink()
    bench.stands = frozenset(spec.id for spec in bench.steps)
    assert bench.run().work_done
    assert bench.trace() == ["open guard", "undo hold", "close guard"]
    assert bench.run().work_done  # and once more, with the moment gone
    assert bench.trace() == ["open guard", "close guard"]


def test_abandoning_takes_everything_back_unless_the_work_is_committed(bench: Bench):
    fail(bench, "join", "permanent")
    bench.run()
    bench.trace()
    assert bench.abandon().failures == []
    assert {"undo hold", "undo make[1]", "undo copy[2]"} <= set(bench.trace())
    fail(bench, "undo-hold", "permanent")
    bench.run()
    bench.trace()
    bench.abandon(committed=True)
    assert bench.trace() == ["undo hold"]


def test_abandoning_leaves_what_one_of_several_seals_put_into_the_world_and_makes_no_other(bench: Bench):
    other = StepSpec("other", "join", {"root": str(bench.root), "parts": []}, needs=("join",))
    bench.steps = (*backup_like(bench.root, cleanup=False), other)
    fail(bench, "other", "permanent")
    bench.run()
    bench.trace()
    assert bench.abandon().failures == []
    trace = bench.trace()
    assert {"undo hold", "undo make[1]"} <= set(trace)
    assert not {"run other", "undo join"} & set(trace)


def test_an_empty_list_is_a_join_of_nothing(bench: Bench):
    (bench.root / "items").write_text("")
    assert bench.run().work_done
    assert runs(bench.trace()) == ["run hold", "run join"]


class Guard(HeldLock):
    """One that is as `error` says."""

    def __init__(self, error: SendenseError) -> None:
        self.error = error

    def hold(self) -> None:
        raise self.error


@pytest.mark.parametrize("looks", ["", "permanent"], ids=["by-its-record", "unrecorded-and-out-of-reach"])
def test_what_is_held_is_named_also_where_a_lock_of_the_run_is_out_of_reach(bench: Bench, looks: str):
    fail(bench, "hold" if looks else "copy[2]", "permanent")
    assert not bench.run().work_done
    if looks:
        fail(bench, "look-hold", "permanent")
    (held,) = bench.named(Guard(HostError("hub cannot be reached: no route to host", transient=True)))
    assert bench.run_id in held.what
    assert held.command == f"sendense sweep toy.yaml --abandon {bench.run_id}"


def test_what_another_process_resumed_is_not_named_as_this_ones(bench: Bench):
    fail(bench, "copy[2]", "permanent")
    assert not bench.run().work_done
    assert bench.named(Guard(LockLostError("the VM", "another process", noticed="now"))) == []


@pytest.mark.parametrize(("node", "code"), [("look", 2), ("copy[2]", 1), ("undo-hold", 1)])
def test_what_comes_to_light_while_something_is_held_is_not_called_bad_usage(bench: Bench, node: str, code: int):
    """Exit code 2 says that nothing was touched."""
    fail(bench, node, "usage")
    outcome = bench.run()
    assert verdict_of(bench.run_id, outcome, 0.0).exit_code == code
    told = {event.node: event.exit_code for event in bench.events if isinstance(event, NodeFailed)}
    assert set(told.values()) == {code}


@pytest.mark.parametrize("jobs", [1, 4], ids=["one-at-a-time", "in-parallel"])
@pytest.mark.parametrize(
    ("node", "step"),
    [
        pytest.param("again[1]", "open", id="a-process-that-comes-later"),
        pytest.param("make[1]", "make", id="one-that-acts-first"),
        pytest.param("unheard[7]", "make", id="one-that-is-not-known-yet"),
    ],
)
def test_what_is_in_the_way_is_told_once_of_the_node_whose_it_is(bench: Bench, jobs: int, node: str, step: str):
    bench.jobs = jobs
    gone = met("host hub", "that it can be reached", HostError("hub is gone", transient=True))

    def refuse(known: object) -> None:
        raise NotReady([Fault(node, step, Unready([gone]))])

    bench.look_ahead = refuse
    outcome = bench.run()
    assert [(name, str(error)) for name, error in outcome.failures] == [(node, "hub is gone; nothing was changed")]
    failed = [event for event in bench.events if isinstance(event, NodeFailed)]
    assert [(event.node, event.fix_first) for event in failed] == [(node, False)]
    skipped = {event.node: event.because for event in bench.events if isinstance(event, NodeSkipped)}
    assert node not in skipped
    assert set(skipped.values()) == {f"{node} failed"}
    assert runs(bench.trace()) == []


def test_only_what_passes_by_itself_can_be_tried_again_as_it_is():
    lacking = wrong("host hub", "qemu-img", "host hub has no qemu-img", "install qemu-utils")
    assert Unready([lacking]).fix_first
    assert not Unready([met("host hub", "x", HostError("hub is gone", transient=True)), lacking]).fix_first
    assert UsageError("").fix_first and not SendenseError("").fix_first and HostError("another host key").fix_first
