"""Hands a notice to Apprise, in a process that is ended when its time is over: a service that hangs, or a
library that logs a URL with its password, is that process's alone."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from runner.base.errors import CommandError, SendenseError, UsageError
from runner.base.model import Model
from runner.hosts import process
from runner.hosts.secrets import FromEnv, FromExec, FromFile, SecretRef, resolve
from steps.notices.wording import Notice

TIMEOUT = 30.0
"""Seconds for all of a notice's services together. A run waits for it at its end."""

PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy")

NOT_INSTALLED = 3
"""Exit code of the process without Apprise."""

# -P: a run may be started in a checkout, whose files are no modules of ours.
_ARGV = (sys.executable, "-P", "-m", "steps.notices.apprise_process")


class Sent(Model):
    """One service's answer."""

    ok: bool
    why: str = ""
    """In words, without the URL or a part of it."""


class Answers(Model):
    sent: tuple[Sent, ...]


@dataclass(frozen=True)
class Delivery:
    """`to` names the reference, never what it stands for."""

    to: str
    why_not: str = ""


def send(notice: Notice, to: Sequence[SecretRef], timeout: float = TIMEOUT) -> list[Delivery]:
    """To each of the services, whatever came of the others. Raises SendenseError where none can be told."""
    found: dict[str, str] = {}
    urls: dict[str, str] = {}
    for reference in to:
        try:
            urls[named(reference)] = resolve(reference).reveal()
        except UsageError as error:
            found[named(reference)] = error.message
    if urls:
        found |= _sent(notice, urls, timeout)
    return [Delivery(named(reference), found[named(reference)]) for reference in to]


def named(reference: SecretRef) -> str:
    match reference:
        case FromEnv(env=name):
            return f"env {name}"
        case FromFile(file=path):
            return f"file {path}"
        case FromExec(exec=argv):
            return f"exec {argv[0]}"


def _sent(notice: Notice, urls: dict[str, str], timeout: float) -> dict[str, str]:
    """Why not, by reference; empty where it was taken."""
    asked = {
        "title": notice.title,
        "body": notice.body,
        "good": notice.good,
        "urls": list(urls.values()),
        "proxies": {name: os.environ[name] for name in PROXIES if name in os.environ},
    }
    try:
        done = process.run(_ARGV, stdin=json.dumps(asked).encode(), timeout=timeout, ok=None)
    except CommandError:  # its cause has what was written to it
        return dict.fromkeys(urls, f"nothing was answered within {timeout:g} s")
    if done.exit_code == NOT_INSTALLED:
        raise SendenseError("notices need Apprise: `pip install 'sendense[notify]'`")
    try:
        answers = Answers.model_validate_json(done.stdout).sent
    except ValidationError:
        return dict.fromkeys(urls, f"the process that sends notices ended with exit code {done.exit_code}")
    return {name: "" if one.ok else one.why for name, one in zip(urls, answers, strict=True)}
