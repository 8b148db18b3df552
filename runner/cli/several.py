"""What commands on several jobs share: sentences that say whose they are, and one exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from runner.errors import SendenseError


def say_error(job: Path, error: SendenseError, jobs: Sequence[Path]) -> None:
    """On standard error; with the job's file before it where it is one of several, unless the sentence begins with it."""
    sentence = str(error)
    whose = f"{job}: " if len(jobs) > 1 and not sentence.startswith(str(job)) else ""
    print(f"sendense: {whose}{sentence}", file=sys.stderr)


def exit_code(codes: Sequence[int]) -> int:
    """One job's code is the code; of several that differ, 4 says that some were done and some not."""
    if len(set(codes)) == 1:
        return codes[0]
    return 4 if 0 in codes else next(code for code in (130, 5, 3, 1, 2) if code in codes)
