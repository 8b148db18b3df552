"""What many jobs have in common, in words."""

from __future__ import annotations

from runner.events.several import alike


def test_sentences_that_differ_in_the_name_alone_are_alike() -> None:
    assert alike("tracking of web-1 is switched on", "web-1") == alike("tracking of db is switched on", "db")
    # A short name is a part of many words.
    assert alike("tracking of a is off", "a") == "tracking of … is off"
    assert alike("tracking of web-10 is off", "web-1") == "tracking of web-10 is off"
