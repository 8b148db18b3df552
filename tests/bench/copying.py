"""The engine against nbdcopy, on the same servers and file system, one after the other in turns.

Both read the disk from one `nbdkit file` and write a new qcow2 through the exporter that start-nbd runs: over its unix
socket; through SSH; and through SSH with a round trip of 20 ms. Through SSH the engine has the forwards that open-tunnel
makes. nbdcopy has what its user has who types `ssh -N -L` and `nbdcopy`: one forward, ssh's own choice of a cipher, and
nbdcopy's own choice of connections and requests. It knows, as the engine does, that the target is blank. What nbdcopy
makes of our cipher and of twice the connections is measured too, and decides nothing.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from runner.base.units import human_bytes
from runner.hosts.local import LocalHost
from runner.hosts.process import start
from runner.hosts.spec import SshSpec
from runner.hosts.tunnel import open_forwards
from steps.backup.open_tunnel import OpenTunnelIn
from steps.copy.endpoint import ConnectFailed
from steps.copy.nbd import probe
from steps.lab.sshd import Sshd
from steps.nbd import exporter
from steps.qemu import img, nbd_server
from tests.bench.disk import SIZE, make_disk
from tests.bench.measure import Cost, median, run_engine, run_program

ROUND_TRIP = 0.020
HANDSHAKE = 5
"""Round trips of an NBD handshake, at least."""
READY_TIMEOUT = 20.0
CONNECTIONS = OpenTunnelIn().connections
TUNED_CONNECTIONS = 8
"""Twice nbdcopy's default."""
EXPORT = "disk"


@dataclass(frozen=True)
class Peer:
    """nbdcopy through a socket; `given` says in words what it was given."""

    given: str
    socket: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Route:
    """`aim`: how many times as fast as nbdcopy the engine shall be. `many`: sockets for the engine; `typed`: nbdcopy as its
    user has it; `tuned`: the best of it; `apart`: processes that are no part of the copy."""

    name: str
    aim: float
    many: Sequence[str]
    typed: Peer
    tuned: Peer
    apart: tuple[int, ...] = ()


class Bench:
    """`directory` holds the disk and the images, `sockets` what is short enough to be a socket's path."""

    def __init__(self, directory: Path, sockets: Path) -> None:
        self._directory = directory
        self._sockets = sockets
        self._host = LocalHost()
        self.disk = directory / "disk.raw"
        self.data = make_disk(self.disk)

    @property
    def source(self) -> str:
        return f"nbd+unix:///?socket={self._sockets}/source"

    def exporter(self, number: int = 0) -> str:
        return f"{self._sockets}/exporter-{number}"

    @contextmanager
    def serving(self, argv: Sequence[str], uri: str) -> Iterator[None]:
        child = start(argv)
        try:
            deadline = time.monotonic() + READY_TIMEOUT
            while True:
                try:
                    probe(uri, READY_TIMEOUT)
                    break
                except ConnectFailed:
                    if child.poll() is not None or time.monotonic() > deadline:
                        raise RuntimeError(f"{argv[0]} does not serve: {child.stderr()}") from None
                    time.sleep(0.01)
            yield
        finally:
            child.stop()

    @contextmanager
    def reading(self) -> Iterator[None]:
        argv = ("nbdkit", "-f", "-r", "-U", f"{self._sockets}/source", "file", str(self.disk))
        with self.serving(argv, self.source):
            yield

    @contextmanager
    def target(self, number: int = 0) -> Iterator[Path]:
        """A new image and its exporter, as create-qcow2 and start-nbd make them."""
        image, socket = self._directory / f"image-{number}.qcow2", self.exporter(number)
        img.create(self._host, str(image), SIZE)
        argv = nbd_server.argv(
            str(image),
            socket,
            EXPORT,
            read_only=False,
            shared=max(TUNED_CONNECTIONS, nbd_server.CONNECTIONS_PER_FORWARD * CONNECTIONS) + 2,
            cache=exporter.CACHES[0],
            pid_file=f"{self._sockets}/pid-{number}",
        )
        with self.serving(argv, nbd_server.uri(socket, EXPORT)):
            yield image
        Path(socket).unlink(missing_ok=True)
        image.unlink()

    def engine(self, route: Route, *, check: bool = False) -> Cost:
        with self.target() as image:
            ends = {"source": [self.source] * CONNECTIONS, "target": [_uri(socket) for socket in route.many]}
            cost = run_engine([ends], apart=route.apart)
            if check:
                self._compare(image)
        return cost

    def nbdcopy(self, route: Route, peer: Peer, *, check: bool = False) -> Cost:
        argv = ["nbdcopy", "--flush", "--destination-is-zero", *peer.options, self.source, _uri(peer.socket)]
        with self.target() as image:
            cost = run_program(argv, apart=route.apart)
            if check:
                self._compare(image)
        return cost

    @contextmanager
    def typed_forward(self, spec: SshSpec) -> Iterator[str]:
        """A forward as one types it: ssh says who the server is, and nothing else."""
        assert spec.identity is not None
        socket, known = f"{self._sockets}/typed-{spec.port}", self._directory / f"known-{spec.port}"
        known.write_text(f"[{spec.server}]:{spec.port} {spec.host_key}\n")
        options = ("-F", "none", "-p", str(spec.port), "-i", spec.identity.file, "-o", f"UserKnownHostsFile={known}")
        argv = ("ssh", *options, "-N", "-L", f"{socket}:{self.exporter()}", spec.ssh)
        with ExitStack() as stack:
            with self.target():
                stack.enter_context(self.serving(argv, _uri(socket)))
            yield socket

    def two_at_once(self, forwards: Sequence[Sequence[str]]) -> Cost:
        with self.target(0), self.target(1):
            return run_engine(
                [
                    {"source": [self.source] * CONNECTIONS, "target": [_uri(socket) for socket in many]}
                    for many in forwards
                ]
            )

    def _compare(self, image: Path) -> None:
        argv = ("qemu-img", "compare", "-U", "-f", "raw", "-F", "qcow2", str(self.disk), str(image))
        subprocess.run(argv, check=True, capture_output=True, timeout=READY_TIMEOUT)


def _uri(socket: str) -> str:
    return nbd_server.uri(socket, EXPORT)


@contextmanager
def _delayed(spec: SshSpec) -> Iterator[tuple[SshSpec, int]]:
    argv = (sys.executable, "-m", "tests.bench.delay", str(spec.port), str(ROUND_TRIP / 2))
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as proxy:
        try:
            assert proxy.stdout is not None
            port = int(proxy.stdout.readline())
            yield spec.model_copy(update={"port": port}), proxy.pid
        finally:
            proxy.kill()


def in_turns(bench: Bench, route: Route, pairs: int) -> float:
    """Prints the medians and the ratio to nbdcopy as typed, which it returns: over 1, the engine is faster."""
    peers = (route.typed, route.tuned)
    for peer in peers:
        bench.nbdcopy(route, peer, check=True)
    bench.engine(route, check=True)
    ours: list[Cost] = []
    theirs: dict[Peer, list[Cost]] = {peer: [] for peer in peers}
    for _ in range(pairs):
        ours.append(bench.engine(route))
        for peer in peers:
            theirs[peer].append(bench.nbdcopy(route, peer))
    typed, tuned = (median(theirs[peer]).seconds / median(ours).seconds for peer in peers)
    aim = f"aim {route.aim:.1f}: {'met' if typed >= route.aim else 'NOT met'}"
    print(f"{route.name}: {typed:.2f} × nbdcopy as typed ({aim}; {pairs} pairs), {tuned:.2f} × nbdcopy tuned")
    print(_line(f"engine, {_shape(route.many)}", ours))
    for peer in peers:
        print(_line(peer.given, theirs[peer]), flush=True)
    return typed


def _shape(sockets: Sequence[str]) -> str:
    several = len(set(sockets))
    return f"{len(sockets)} connections" + (f" over {several} ssh" if several > 1 else "")


def _line(who: str, costs: Sequence[Cost]) -> str:
    cost = median(costs)
    seconds = " ".join(f"{cost.seconds:.2f}" for cost in costs)
    return (
        f"    {who:<54} {cost.seconds:5.2f} s   CPU {cost.cpu:4.2f} s, servers and ssh {cost.servers:5.2f} s   "
        f"memory {human_bytes(cost.memory):>9}   [{seconds}]"
    )


def main(pairs: int = 5) -> None:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sendense-bench-")))
        sockets = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sb-")))
        bench = Bench(directory, sockets)
        stack.enter_context(bench.reading())
        sshd = Sshd(directory / "sshd")
        sshd.start()
        stack.callback(sshd.stop)
        print(f"a disk of {human_bytes(SIZE)}, {human_bytes(bench.data)} of it random data")
        served = bench.exporter()
        typed = Peer("nbdcopy as typed: its own connections", served)
        tuned = Peer(f"nbdcopy tuned: {TUNED_CONNECTIONS} connections", served, _tuning())
        in_turns(bench, Route("direct", 1.0, [served] * CONNECTIONS, typed, tuned), pairs)
        with _through(bench, sshd.spec) as (many, typed, tuned):
            in_turns(bench, Route("through SSH", 1.5, many, typed, tuned), pairs)
            with _forwards(sshd.spec, bench.exporter(1), CONNECTIONS) as others:
                _print_two_at_once(bench, many, others)
        with _delayed(sshd.spec) as (spec, proxy), _through(bench, spec, round_trip=ROUND_TRIP) as (many, typed, tuned):
            name = f"through SSH, {ROUND_TRIP * 1000:.0f} ms round trip"
            in_turns(bench, Route(name, 2.0, many, typed, tuned, apart=(proxy,)), pairs)


def _tuning() -> tuple[str, ...]:
    return (f"--connections={TUNED_CONNECTIONS}",)


@contextmanager
def _through(bench: Bench, spec: SshSpec, *, round_trip: float = 0.0) -> Iterator[tuple[Sequence[str], Peer, Peer]]:
    """What the engine and nbdcopy have through SSH."""
    served = bench.exporter()
    with (
        _forwards(spec, served, CONNECTIONS, round_trip=round_trip) as many,
        bench.typed_forward(spec) as typed,
        _forwards(spec, served, 1) as one,
    ):
        yield (
            many,
            Peer("nbdcopy as typed: one ssh -L, its own connections", typed),
            Peer(f"nbdcopy tuned: one ssh, our cipher, {TUNED_CONNECTIONS} connections", one[0], _tuning()),
        )


@contextmanager
def _forwards(spec: SshSpec, socket: str, connections: int, *, round_trip: float = 0.0) -> Iterator[Sequence[str]]:
    """Sockets as open-tunnel gives them to the engine: each as often as it carries connections."""
    several = exporter.ssh_processes(connections, handshake=HANDSHAKE * round_trip)
    with open_forwards("the bench's sshd", spec, [socket] * several) as forwards:
        yield forwards.sockets * nbd_server.CONNECTIONS_PER_FORWARD


def _print_two_at_once(bench: Bench, many: Sequence[str], others: Sequence[str]) -> None:
    direct = [[bench.exporter(number)] * CONNECTIONS for number in (0, 1)]
    for name, forwards in (("direct", direct), ("through SSH", [many, others])):
        costs = [bench.two_at_once(forwards) for _ in range(3)]
        cores = median([*costs])
        used = (cores.cpu + cores.servers) / cores.seconds
        print(f"two disks at once, {name}: {used:.1f} cores busy")
        print(_line("engine, a thread a disk", costs), flush=True)


if __name__ == "__main__":
    main()
