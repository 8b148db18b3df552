from __future__ import annotations

from runner.step.step import Lifetime
from steps.backup.cleanup import Cleanup
from tests.hub import Hub

STEP = Cleanup()


def test_cleanup_unwinds_and_says_what_was_released(hub: Hub) -> None:
    done = STEP.run(hub.context(), STEP.In(), STEP.Live())
    assert done.released == ("snapshot sendense-1",)
    assert STEP.report(done).statements[0].text == "Released: snapshot sendense-1."


def test_it_is_never_taken_for_done(hub: Hub) -> None:
    done = STEP.run(hub.context(), STEP.In(), STEP.Live())
    assert STEP.lifetime is Lifetime.KEEP
    assert STEP.check(hub.context(), STEP.In(), done) is None
