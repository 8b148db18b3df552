"""What many jobs have in common, in words."""

from __future__ import annotations

from runner.events.several import Causes, alike


def test_sentences_that_differ_in_the_name_alone_are_alike() -> None:
    assert alike("tracking of web-1 is switched on", "web-1") == alike("tracking of db is switched on", "db")
    # A short name is a part of many words.
    assert alike("tracking of a is off", "a") == "tracking of … is off"
    assert alike("tracking of web-10 is off", "web-1") == "tracking of web-10 is off"


def test_what_many_fail_at_is_one_cause_and_what_one_fails_at_names_it() -> None:
    causes = Causes()
    counts = [causes.add(f"VM {name} needs consolidation", name) for name in ("web-1", "web-2")]
    causes.add("VM db has too many snapshots", "db")
    assert counts == [1, 2]
    assert [(one.why, one.names) for one in causes.found] == [
        ("VM … needs consolidation", ("web-1", "web-2")),
        ("VM db has too many snapshots", ("db",)),
    ]
    causes.add("the scheduler is gone", "")
    assert causes.found[-1].why == "the scheduler is gone"
