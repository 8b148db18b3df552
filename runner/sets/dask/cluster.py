"""What both ends of a connection in the cluster share: mutual TLS, and settings that keep it closed and
quiet."""

from __future__ import annotations

import logging
import ssl
import stat
from pathlib import Path
from typing import Any

import dask
import dask.config
from distributed import Client, Scheduler
from distributed.security import Security

from runner.base.errors import SendenseError, UsageError
from runner.job.fleet import DaskFleet

CONNECT = 10.0
"""Seconds in which a connection is made or refused."""

OURS = {
    "distributed.comm.require-encryption": True,
    "distributed.comm.timeouts.connect": CONNECT,
    # What is imported into a scheduler or a worker is code beside the secrets: nothing that some file names
    # is.
    "distributed.scheduler.preload": [],
    "distributed.worker.preload": [],
    "distributed.client.preload": [],
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.scheduler.allowed-failures": 0,
    # Nothing that Dask runs itself is to be profiled, moved to another worker, spilled or copied.
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.worker.profile.enabled": False,
    "distributed.diagnostics.nvml": False,
    # A worker that was frozen or cut off: its children are started again after seconds by a clock of ours.
    # This one only forgets its name.
    "distributed.scheduler.worker-ttl": "60s",
}
"""Settings of Dask that hold whatever its files and its environment say."""


class ClusterError(SendenseError):
    """The cluster cannot be reached, or refuses us."""


def configure() -> None:
    """Before anything of a cluster is made in this process."""
    dask.config.set(OURS)
    # What is to be known is said in sentences of ours; Dask's own lines tell of a closed connection as of a
    # crash.
    logging.getLogger("distributed").setLevel(logging.CRITICAL + 1)
    logging.getLogger("tornado").setLevel(logging.CRITICAL + 1)


def security_of(fleet: DaskFleet) -> Security:
    """Raises UsageError for files that are no such certificate or key."""
    _require_private(fleet.key)
    try:
        context = ssl.create_default_context(cafile=fleet.ca)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"{fleet.ca} cannot be read as the certificate of a CA: {_why(error)}") from error
    try:
        context.load_cert_chain(fleet.cert, fleet.key)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"{fleet.cert} and {fleet.key} cannot be read as a certificate and its key: {_why(error)}"
        ) from error
    files = {"tls_ca_file": fleet.ca}
    for role in ("client", "scheduler", "worker"):
        files |= {f"tls_{role}_cert": fleet.cert, f"tls_{role}_key": fleet.key}
    return Security(require_encryption=True, **files)


def _require_private(key: str) -> None:
    try:
        mode = Path(key).stat().st_mode
    except OSError as error:
        raise UsageError(f"the key {key} cannot be read: {error.strerror}") from error
    if stat.S_IMODE(mode) & stat.S_IRWXO:
        raise UsageError(f"the key {key} can be read by everybody on this machine: chmod 600 {key}")


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def client_of(fleet: DaskFleet, security: Security) -> Client:
    """To be entered. Raises ClusterError by `sentence`."""
    return Client(
        fleet.scheduler, security=security, asynchronous=True, timeout=CONNECT, set_as_default=False
    )


def settings_of(dask_scheduler: Scheduler) -> dict[str, Any]:
    """Runs in the scheduler."""
    server = getattr(dask_scheduler, "http_server", None)
    http = [] if server is None else [f"{server.address}:{server.port}"]
    return {"allowed-failures": dask_scheduler.allowed_failures, "http": http}


async def require_safe(client: Client, scheduler: str) -> None:
    """Raises ClusterError, with what to set, for a scheduler that this cluster must not have."""
    settings = await client.run_on_scheduler(settings_of)
    if settings["allowed-failures"] != 0:
        raise ClusterError(
            f"the scheduler {scheduler} runs again what a dead worker had (allowed-failures: "
            f"{settings['allowed-failures']}): start it with `sendense scheduler`, or set "
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES=0 for it"
        )
    open_ports = [address for address in settings["http"] if not address.startswith(("127.0.0.1:", "::1:"))]
    if open_ports:
        raise ClusterError(
            f"the scheduler {scheduler} serves plain HTTP at {', '.join(open_ports)}: start it with "
            "`sendense scheduler`, or with --dashboard-address 127.0.0.1:0 and "
            "DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES='[]'"
        )


def sentence(scheduler: str, error: BaseException) -> ClusterError:
    """Of a connection that was not made."""
    reasons = []
    cause: BaseException | None = error
    while cause is not None:
        reasons.append(cause)
        cause = cause.__cause__ or cause.__context__
    if any(isinstance(reason, ssl.SSLCertVerificationError) for reason in reasons):
        return ClusterError(f"the scheduler {scheduler} shows a certificate that our CA did not sign")
    if any(isinstance(reason, ssl.SSLError) for reason in reasons):
        return ClusterError(
            f"the scheduler {scheduler} refused us while TLS began: did its CA sign our certificate, "
            "and is this a TLS port?"
        )
    refused = next((reason for reason in reasons if isinstance(reason, ConnectionError)), None)
    why = "it does not answer" if refused is None else (refused.strerror or str(refused)).lower()
    return ClusterError(f"the scheduler {scheduler} cannot be reached: {why}")
