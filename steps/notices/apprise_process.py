"""The process that sends one notice: `python -m steps.notices.apprise_process`. What to send and where stands
on its standard input, since arguments are everybody's to read; what came of it, on its standard output."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

EACH = 20.0
"""Seconds for one service: less than the process has, so that one that hangs is told by itself."""

_HTTP = re.compile(r"\berror=([1-5]\d\d)\b")


def main() -> int:
    try:
        import apprise
    except ImportError:
        return 3
    # It logs a URL that it cannot read in full, with the password.
    log = logging.getLogger("apprise")
    log.propagate = False
    log.addHandler(logging.NullHandler())
    asked = json.load(sys.stdin)
    os.environ.update(asked["proxies"])
    # Side by side: one that hangs must not take the others' time.
    with ThreadPoolExecutor(max_workers=max(1, len(asked["urls"]))) as threads:
        sent = list(threads.map(lambda url: _send(apprise, url, asked), asked["urls"]))
    json.dump({"sent": sent}, sys.stdout)
    sys.stdout.flush()
    # A thread of a service that hangs may still wait.
    os._exit(0)


def _send(apprise: Any, url: str, asked: dict[str, Any]) -> dict[str, Any]:
    try:
        service = apprise.Apprise()
        if not service.add(url):
            return _refused("Apprise knows no service by that URL; see its list of services")
        kind = apprise.NotifyType.SUCCESS if asked["good"] else apprise.NotifyType.FAILURE
        result = service.notify(
            title=asked["title"],
            body=asked["body"],
            notify_type=kind,
            timeout=EACH,
            log_level=logging.WARNING,  # kept with the result; without, an answer's status is not told
        )
        if bool(result):
            return {"ok": True}
        return _refused(_why(result))
    except Exception as error:  # noqa: BLE001  the message of an error may have the URL in it
        return _refused(f"Apprise failed with {type(error).__name__}")


def _why(result: Any) -> str:
    """Never in Apprise's words, which may have the URL in them."""
    if result.status.name == "TIMEOUT":
        return f"the service did not answer within {EACH:g} s"
    text = " ".join(str(entry) for one in result for attempt in one for entry in attempt.logs)
    status = _HTTP.search(text)
    return f"the service refused it with HTTP {status[1]}" if status else "the service could not be reached"


def _refused(why: str) -> dict[str, Any]:
    return {"ok": False, "why": why}


if __name__ == "__main__":
    sys.exit(main())
