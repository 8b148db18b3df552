"""An entry of log.jsonl: who did what to which restore points. One line each, of which `prev` names the one
before by its SHA-256, so that none can be changed or taken out without a trace in all that follow.

    {"seq":2,"at":"…","account":"…","host":"…","job":"…","run":"…","commit":null,"act":"prune","vm":"…",
     "points":["…"],"text":"…","prev":"<sed -n 1p log.jsonl | sha256sum>"}
"""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from runner.base.model import Model
from steps.repository.recorded import UtcTime

Act = Literal[
    "publish",
    "unpublish",
    "prune",
    "rebase",
    "protect",
    "lift",
    "restore",
    "adopt",
    "verify",
    "copy",
    "release-brake",
]

HASH = r"[0-9a-f]{64}"


class Told(Model):
    """What the writer of an entry says."""

    at: UtcTime
    """By the clock of the machine that it was done from."""
    account: str
    """Who started it, on that machine."""
    host: str
    """That machine."""
    job: str
    """The job, or the job file that a command was given."""
    run: str
    """The run's id; empty for what a command did in no run."""
    commit: str | None
    """The git commit of the job file."""
    act: str
    """An `Act`; of a newer version perhaps another."""
    vm: str
    """The name of the VM's directory, as it is listed with `ls`."""
    points: tuple[str, ...]
    """Names."""
    text: str
    """What else is to be said of it."""
    unusual: bool | None = None
    """Of a publication: `Manifest.unusual`."""

    @property
    def line(self) -> str:
        """Without braces: what stands before and behind it, the host adds."""
        told = self.to_json_value()
        if self.unusual is None:
            del told["unusual"]
        return json.dumps(told, ensure_ascii=True, separators=(",", ":"))[1:-1]


class Entry(Told):
    model_config = ConfigDict(extra="ignore")  # a newer version may say more

    seq: Annotated[int, Field(ge=1)]
    """The first has 1."""
    prev: Annotated[str, Field(pattern=rf"^({HASH})?$")]
    """SHA-256 of the line before with its newline; empty in the first."""


class Head(Model):
    """Where a log ended once: what it had until then is told by this."""

    seq: Annotated[int, Field(ge=0)]
    digest: Annotated[str, Field(pattern=rf"^({HASH})?$")]
    """SHA-256 of that line with its newline; empty where there was none."""
