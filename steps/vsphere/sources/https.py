"""nbdkit with its curl plugin on the -flat.vmdk of a frozen disk.

One process serializes its requests and knows no extents (nbdkit-curl-plugin(1), tried with 1.32), so several read one
file. What a client sees of a failure is an export that does not exist; the cause is on standard error.
"""

from __future__ import annotations

import re
import shlex

from steps.vsphere.client import KEEPALIVE_LENT
from steps.vsphere.errors import NotTrusted, PermissionMissing, Unreachable, VSphereError
from steps.vsphere.folder import PRIVILEGES

REQUEST_TIMEOUT = 30
"""Seconds for one HTTP request, so for 1 MiB: below the copy's stall timeout, so that a hanging one is made again."""

COOKIE_RENEW = 5
"""Seconds after which the cookie's file is read again."""

RETRY_DELAY = 2
RETRIES = int((KEEPALIVE_LENT + COOKIE_RENEW) / RETRY_DELAY) + 2
"""A read that fails is made again for a little longer than it takes to see that the session ended, to log in and to hand
the new cookie out: an expired session, a dropped connection and a 503 cost seconds, not the copy."""

_ERROR_LINE = re.compile(r"^nbdkit: (?:\S+: )?error: (.*)\n", re.MULTILINE)
_STATUS = re.compile(r"returned error: (\d{3})")
_URL = re.compile(r"^problem doing HEAD request to fetch size of URL \[[^\]]*\]: ")


class SourceFailed(VSphereError):
    pass


def argv(url: str, *, cookie_file: str, ca_file: str, socket: str, pid_file: str) -> tuple[str, ...]:
    """nbdkit makes `pid_file` when its socket listens. The cookie is in a file only: command lines are public."""
    return (
        "nbdkit",
        "--foreground",
        "--readonly",
        "--log=stderr",
        f"--unix={socket}",
        f"--pidfile={pid_file}",
        "--filter=retry-request",
        "curl",
        f"url={url}",
        f"cainfo={ca_file}",
        "protocols=https",
        # The cookie is for this server only.
        "followlocation=false",
        f"timeout={REQUEST_TIMEOUT}",
        f"cookie-script=cat {shlex.quote(cookie_file)}",
        f"cookie-script-renew={COOKIE_RENEW}",
        f"retry-request-retries={RETRIES}",
        f"retry-request-delay={RETRY_DELAY}",
        # A disk that cannot be opened is an answer, not an accident.
        "retry-request-open=false",
    )


def errors_in(stderr: str) -> list[str]:
    """What nbdkit complained of, in whole lines: it writes them in pieces."""
    return _ERROR_LINE.findall(stderr)


def failure(what: str, stderr: str, *, session_ended: bool) -> VSphereError:
    """The error for what nbdkit said. `what`: ``disk 2000 of pgtest1 (https://…)``; `session_ended`: a refusal is then only
    that."""
    said = errors_in(stderr)
    cause = _URL.sub("", said[-1]) if said else " / ".join(stderr.strip().splitlines()[-3:]) or "nbdkit said nothing"
    begin = f"{what} cannot be read over HTTPS"
    if status := _STATUS.search(cause):
        return _for_status(begin, int(status.group(1)), session_ended=session_ended)
    if "certificate" in cause:
        return NotTrusted(
            f"{begin}: {cause}; curl insists that the certificate names the server as the job does: write `server:` as in "
            f"the certificate"
        )
    if not said or "curl" not in stderr:
        return SourceFailed(f"{begin}: {cause}")
    return Unreachable(f"{begin}: {cause}")


def _for_status(begin: str, status: int, *, session_ended: bool) -> VSphereError:
    if status in (401, 403) and session_ended:
        return Unreachable(f"{begin}: the session had ended (status {status})")
    if status in (401, 403):
        return PermissionMissing(
            f"{begin}: the account is refused (status {status}): add {PRIVILEGES} to its role on the datacenter and the "
            f"datastore",
            PRIVILEGES,
            "the datastore",
        )
    if status == 404:
        return SourceFailed(
            f"{begin}: there is no such file (status 404): the disk was moved, or its datastore keeps no flat files"
        )
    if status >= 500:
        return Unreachable(f"{begin}: the server failed (status {status})")
    return SourceFailed(f"{begin}: the server answered with status {status}")
