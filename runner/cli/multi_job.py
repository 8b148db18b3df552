"""What commands on several jobs share: sentences that say whose they are."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from runner.base.errors import SendenseError


def say_error(job: Path, error: SendenseError, jobs: Sequence[Path]) -> None:
    """On standard error; with the job's file before it where it is one of several, unless the sentence begins
    with it."""
    sentence = str(error)
    whose = f"{job}: " if len(jobs) > 1 and not sentence.startswith(str(job)) else ""
    print(f"sendense: {whose}{sentence}", file=sys.stderr)
