"""A cluster of real processes: who may join it, where it listens, and what becomes of children when a part of it
ends."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dask
import pytest
from distributed import Scheduler
from distributed.comm import connect

from runner.base.errors import UsageError
from runner.job.fleet import DaskFleet
from runner.sets.dask.cluster import ClusterError, client_of, configure, require_safe, security_of
from runner.sets.dask.serving import ClosedScheduler
from tests.eventually import eventually
from tests.fleet.authority import Identity, identity
from tests.fleet.cluster import LEASE, Cluster, free_port, listening
from tests.fleet.toys import ROOT


def fleet_of(scheduler: str, member: Identity) -> DaskFleet:
    return DaskFleet(scheduler=scheduler, ca=str(member.ca), cert=str(member.cert), key=str(member.key))


@pytest.fixture
def dask_settings() -> Iterator[None]:
    """As this process had them before."""
    before = dask.config.config.copy()
    yield
    dask.config.config.clear()
    dask.config.config.update(before)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """With one worker, of one slot."""
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        cluster.scheduler()
        cluster.worker("w", slots=1)
        yield cluster


def test_scheduler_and_worker_listen_at_one_address_each_and_speak_tls_there_alone(cluster: Cluster) -> None:
    """Dask's own open plain HTTP on all addresses."""
    at = urlsplit(cluster.address)
    assert listening(cluster.processes["scheduler"].pid) == {(at.hostname, at.port)}
    ((host, port),) = listening(cluster.processes["w"].pid)
    assert host == "127.0.0.1"
    for target in ((at.hostname, at.port), (host, port)):
        with socket.create_connection(target, timeout=5) as plain:
            plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
            try:
                assert b"HTTP" not in plain.recv(100)
            except ConnectionResetError:
                pass
        nobody = ssl.create_default_context(cafile=str(cluster.identity.ca))
        nobody.check_hostname = False
        # Without a certificate of one's own; TLS 1.3 says so with the first bytes that come back.
        with (
            pytest.raises((ssl.SSLError, ConnectionError)),
            socket.create_connection(target, timeout=5) as raw,
            nobody.wrap_socket(raw) as channel,
        ):
            channel.sendall(b"x")
            channel.recv(100)


def test_a_worker_of_another_ca_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    other = identity(tmp_path / "other")
    cluster.sendense("stranger", "worker", f"--scheduler={cluster.address}", *other.options)
    assert cluster.wait("stranger", 60) == 1
    assert "shows a certificate that our CA did not sign" in cluster.said("stranger")
    mixed = Identity(cluster.identity.ca, other.cert, other.key)
    cluster.sendense("mixed", "worker", f"--scheduler={cluster.address}", *mixed.options)
    assert cluster.wait("mixed", 60) == 1
    assert "did its CA sign our certificate" in cluster.said("mixed")


def test_plain_tcp_is_refused(cluster: Cluster) -> None:
    at = urlsplit(cluster.address)

    async def try_it() -> None:
        comm = await connect(f"tcp://{at.hostname}:{at.port}", timeout=3)
        await comm.write({"op": "identity", "reply": True})

    with pytest.raises(OSError):
        asyncio.run(try_it())
    cluster.sendense(
        "plain", "worker", f"--scheduler={cluster.address.replace('tls:', 'tcp:')}", *cluster.identity.options
    )
    assert cluster.wait("plain", 60) == 2
    assert "plain TCP is refused" in cluster.said("plain")


@pytest.mark.usefixtures("dask_settings")
@pytest.mark.parametrize(
    ("kind", "settings", "sentence"),
    [
        pytest.param(
            ClosedScheduler, {"allowed_failures": 3}, "ALLOWED_FAILURES=0 for it", id="that runs a lost task again"
        ),
        pytest.param(
            Scheduler,
            {"allowed_failures": 0, "dashboard_address": "0.0.0.0:0"},
            "serves plain HTTP at 0.0.0.0:",
            id="with plain HTTP",
        ),
    ],
)
def test_a_scheduler_is_refused(tmp_path: Path, kind: Any, settings: dict[str, Any], sentence: str) -> None:
    member = identity(tmp_path / "identity")

    async def try_it() -> None:
        configure()
        fleet = fleet_of(f"tls://127.0.0.1:{free_port()}", member)
        security, at = security_of(fleet), urlsplit(fleet.scheduler)
        made = kind(host=at.hostname, port=at.port, protocol="tls", security=security, dashboard=False, **settings)
        async with made, client_of(fleet, security) as client:
            await require_safe(client, fleet.scheduler)

    with pytest.raises(ClusterError, match=sentence):
        asyncio.run(try_it())


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    member = identity(tmp_path / "identity")
    member.key.chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        security_of(fleet_of("tls://127.0.0.1:1", member))


def test_what_is_no_certificate_is_named(tmp_path: Path) -> None:
    member = identity(tmp_path / "identity")
    member.cert.write_text("no certificate")
    with pytest.raises(UsageError, match=r"cert\.pem and .*key\.pem cannot be read"):
        security_of(fleet_of("tls://127.0.0.1:1", member))


@pytest.mark.slow
def test_children_outlive_what_ends_in_order(tmp_path: Path) -> None:
    """Events come back in their order; a controller that dies ends its children by the lease, a worker that is stopped
    stops its own, and a scheduler that dies ends its workers; another controller resumes all."""
    with Cluster(tmp_path) as cluster:
        root = cluster.item("vm", slices=80)
        cluster.scheduler()
        cluster.worker("w")
        cluster.controller()
        assert eventually(lambda: (root / "done").exists(), 60), cluster.said("controller")
        cluster.end("controller", signal.SIGKILL)
        assert eventually(lambda: not cluster.children(), LEASE + 20)
        assert list(root.glob("moment-*")) and not list(root.glob("point-*"))

        cluster.controller()
        assert eventually(lambda: cluster.children(), 60)
        assert cluster.end("w") == 0
        assert not cluster.children()
        assert "stopping 1 children" in cluster.said("w")

        cluster.worker("w")
        assert eventually(lambda: cluster.children(), 60)
        cluster.end("scheduler", signal.SIGKILL)
        assert cluster.wait("w", 60) == 1
        assert "was lost: all children were stopped" in cluster.said("w")
        assert not cluster.children()

        cluster.scheduler()
        cluster.worker("w")
        assert cluster.wait("controller", 60) == 0, cluster.said("controller")
        assert len(list(root.glob("point-*"))) == 1
        told = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
        kinds = [event["event"]["type"] for event in told]
        assert kinds[0] == "run-started" and kinds[-1] == "run-finished"
        counts = [event["event"]["done"] for event in told if event["event"]["type"] == "node-progress"]
        assert counts == sorted(counts)


@pytest.mark.slow
def test_what_a_child_did_while_its_worker_was_frozen_is_not_done_twice(tmp_path: Path) -> None:
    """The child lives on, and ends well behind its worker's back; another worker is asked for the same."""
    with Cluster(tmp_path) as cluster:
        root = cluster.item("vm", slices=60)
        cluster.scheduler()
        cluster.worker("w1")
        cluster.controller()
        assert eventually(lambda: (root / "done").exists(), 60), cluster.said("controller")
        cluster.send("w1", signal.SIGSTOP)
        cluster.worker("w2")
        assert cluster.wait("controller", 60) == 0, cluster.said("controller")
        assert "has not answered for 4 s: it is started again" in cluster.said("controller")
        assert len(list(root.glob("point-*"))) == 1
        assert [ended["exit_code"] for ended in cluster.ended()] == [0]
        cluster.send("w1", signal.SIGCONT)
        assert eventually(lambda: not cluster.children())
        assert len(list(root.glob("point-*"))) == 1


def test_without_the_extra_a_command_says_what_to_install(tmp_path: Path) -> None:
    """The small installation has no Dask."""
    program = "import sys; sys.modules['distributed'] = None; from runner.cli import main; main(sys.argv[1:])"
    member = identity(tmp_path / "identity")
    words = ["scheduler", "--listen=tls://127.0.0.1:1", *member.options]
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (2, "sendense: Dask is not installed here: pip install 'sendense[dask]'\n")
