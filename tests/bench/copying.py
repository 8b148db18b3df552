"""The engine against nbdcopy, on the same servers and file system, in pairs of which now one, now the other goes first.

Both read the disk from one `nbdkit file` and write a new qcow2 through the exporter that start-nbd runs: over its unix
socket; through SSH; and through SSH with a round trip of 20 ms. Through SSH the engine has the forwards that a copy gets.
nbdcopy is measured twice: as its user types it (`ssh -N -L`, ssh's own choice of a cipher, its own connections and
requests), and with the best of SETTINGS, which a first round over one ssh of our cipher finds, for each route. It knows, as
the engine does, that the target is blank. All of it is measured on the machine as it is, and with a process that spins for
each core.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from runner.base.units import KiB, human_bytes
from runner.hosts.local import LocalHost
from runner.hosts.process import start
from runner.hosts.spec import SshSpec
from runner.hosts.tunnel import open_forwards
from steps.backup.open_tunnel import OpenTunnelIn
from steps.copy.endpoint import ConnectFailed
from steps.copy.nbd import probe
from steps.lab.sshd import Sshd
from steps.nbd import exporter
from steps.nbd.parallelism import DIRECT, choose
from steps.qemu import img, nbd_server
from tests.bench.disk import SIZE, make_disk
from tests.bench.measure import Cost, median, run_engine, run_program
from tests.eventually import eventually

ROUND_TRIP = 0.020
NARROW = 25e6
"""Bytes a second: 200 Mbit/s."""
READY_TIMEOUT = 20.0
SETTINGS = [(1, 1024, 8), (1, 4096, 8), (4, 256, 64), (4, 1024, 8), (8, 1024, 8), (8, 256, 64), (16, 1024, 8)]
"""Of nbdcopy: connections, KiB a request, requests in flight a connection."""
MOST_CONNECTIONS = max(connections for connections, _, _ in SETTINGS)
EXPORT = "disk"


@dataclass(frozen=True)
class Peer:
    """nbdcopy through a socket; `given` says in words what it was given."""

    given: str
    socket: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Route:
    """`typed` and `best`: how many times as fast as nbdcopy the engine shall be. `many`: sockets for the engine, one a
    connection; `peer`: nbdcopy as its user has it; `tuned`: the socket for its best settings; `apart`: processes that are no
    part of the copy."""

    name: str
    typed: float
    best: float | None
    many: Sequence[str]
    peer: Peer
    tuned: str
    apart: tuple[int, ...] = ()


class Bench:
    """`directory` holds the disk and the images, `sockets` what is short enough to be a socket's path."""

    def __init__(self, directory: Path, sockets: Path) -> None:
        self.directory = directory
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
            settled = eventually(lambda: child.poll() is not None or _serves(uri), READY_TIMEOUT)
            if not settled or child.poll() is not None:
                raise RuntimeError(f"{argv[0]} does not serve: {child.stderr()}")
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
        image, socket = self.directory / f"image-{number}.qcow2", self.exporter(number)
        img.create(self._host, str(image), SIZE)
        argv = nbd_server.argv(
            str(image),
            socket,
            EXPORT,
            read_only=False,
            shared=MOST_CONNECTIONS + nbd_server.SPARE_CONNECTIONS,
            cache=exporter.CACHES[0],
            pid_file=f"{self._sockets}/pid-{number}",
        )
        with self.serving(argv, nbd_server.uri(socket, EXPORT)):
            yield image
        Path(socket).unlink(missing_ok=True)
        image.unlink()

    def engine(self, many: Sequence[str], apart: Sequence[int] = (), *, check: bool = False) -> Cost:
        with self.target() as image:
            ends = {"source": [self.source] * DIRECT, "target": [_uri(socket) for socket in many]}
            cost = run_engine([ends], apart=apart)
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
        socket, known = f"{self._sockets}/typed-{spec.port}", self.directory / f"known-{spec.port}"
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
                [{"source": [self.source] * DIRECT, "target": [_uri(socket) for socket in many]} for many in forwards]
            )

    def _compare(self, image: Path) -> None:
        argv = ("qemu-img", "compare", "-U", "-f", "raw", "-F", "qcow2", str(self.disk), str(image))
        subprocess.run(argv, check=True, capture_output=True, timeout=READY_TIMEOUT)


def _uri(socket: str) -> str:
    return nbd_server.uri(socket, EXPORT)


def _serves(uri: str) -> bool:
    try:
        probe(uri, READY_TIMEOUT)
    except ConnectFailed:
        return False
    return True


@contextmanager
def bench_and_sshd() -> Iterator[tuple[Bench, Sshd]]:
    """The disk is served, and the sshd listens."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sendense-bench-")))
        sockets = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sb-")))
        bench = Bench(directory, sockets)
        stack.enter_context(bench.reading())
        sshd = Sshd(directory / "sshd")
        sshd.start()
        stack.callback(sshd.stop)
        yield bench, sshd


@contextmanager
def delayed(spec: SshSpec, *rate: float) -> Iterator[tuple[SshSpec, int]]:
    argv = (sys.executable, "-m", "tests.bench.delay", str(spec.port), str(ROUND_TRIP / 2), *map(str, rate))
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as proxy:
        try:
            assert proxy.stdout is not None
            port = int(proxy.stdout.readline())
            yield spec.model_copy(update={"port": port}), proxy.pid
        finally:
            proxy.kill()


@contextmanager
def idle_cores() -> Iterator[tuple[int, ...]]:
    yield ()


@contextmanager
def busy_cores() -> Iterator[tuple[int, ...]]:
    """A process that spins for each core; their pids."""
    spinning = [subprocess.Popen((sys.executable, "-c", "while True: pass")) for _ in os.sched_getaffinity(0)]
    try:
        yield tuple(process.pid for process in spinning)
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def best_of(bench: Bench, route: Route) -> Peer:
    """nbdcopy with the settings that took least, of one run each."""
    peers = [
        Peer(
            f"nbdcopy, {connections} connections, {several} requests of {size} KiB",
            route.tuned,
            (f"--connections={connections}", f"--request-size={size * KiB}", f"--requests={several}"),
        )
        for connections, size, several in SETTINGS
    ]
    return min(peers, key=lambda peer: bench.nbdcopy(route, peer).seconds)


def in_turns(bench: Bench, route: Route, pairs: int) -> None:
    """Prints nbdcopy's time over the engine's: over 1, the engine is faster."""
    bench.nbdcopy(route, route.peer, check=True)
    bench.engine(route.many, route.apart, check=True)
    best = best_of(bench, route)
    for machine, load in (("as it is", idle_cores), ("busy", busy_cores)):
        with load() as spinning:
            loaded = replace(route, apart=(*route.apart, *spinning))
            for peer, aim in ((route.peer, route.typed), (best, route.best)):
                _print_pairs(f"{route.name}, machine {machine}", bench, loaded, peer, aim, pairs)


def _print_pairs(name: str, bench: Bench, route: Route, peer: Peer, aim: float | None, pairs: int) -> None:
    ours: list[Cost] = []
    theirs: list[Cost] = []
    for number in range(pairs):
        turns = [(ours, lambda: bench.engine(route.many, route.apart)), (theirs, lambda: bench.nbdcopy(route, peer))]
        for costs, run in turns if number % 2 else reversed(turns):
            costs.append(run())
    ratios = [their.seconds / our.seconds for our, their in zip(ours, theirs, strict=True)]
    middle = statistics.median(ratios)
    met = "" if aim is None else f"; aim {aim:.1f}: {'met' if middle >= aim else 'NOT met'}"
    print(f"{name}: {min(ratios):.2f} – {middle:.2f} – {max(ratios):.2f} × nbdcopy ({pairs} pairs{met})")
    print(_line(f"engine, {_shape(route.many)}", ours))
    print(_line(peer.given, theirs), flush=True)


def _shape(sockets: Sequence[str]) -> str:
    return f"connections: {len(sockets)}, sockets: {len(set(sockets))}"


def _line(who: str, costs: Sequence[Cost]) -> str:
    cost = median(costs)
    least, most = (end(cost.seconds for cost in costs) for end in (min, max))
    return (
        f"    {who:<54} {least:5.2f} – {cost.seconds:5.2f} – {most:5.2f} s   CPU {cost.cpu:4.2f} s, servers and ssh "
        f"{cost.servers:5.2f} s   memory {human_bytes(cost.memory):>9}"
    )


def main(pairs: int = 5) -> None:
    with bench_and_sshd() as (bench, sshd):
        print(f"a disk of {human_bytes(SIZE)}, {human_bytes(bench.data)} of it random data; least – median – most")
        served = bench.exporter()
        typed = Peer("nbdcopy as typed: its own connections", served)
        in_turns(bench, Route("direct", 1.0, 0.9, [served] * DIRECT, typed, served), pairs)
        with _through(bench, sshd.spec) as (many, typed, tuned):
            in_turns(bench, Route("through SSH", 1.0, 1.0, many, typed, tuned), pairs)
            with copy_forwards(sshd.spec, bench.exporter(1)) as others:
                _print_two_at_once(bench, many, others)
        with delayed(sshd.spec) as (spec, proxy), _through(bench, spec, round_trip=ROUND_TRIP) as (many, typed, tuned):
            name = f"through SSH, {ROUND_TRIP * 1000:.0f} ms round trip"
            in_turns(bench, Route(name, 1.0, 1.0, many, typed, tuned, apart=(proxy,)), pairs)
        with (
            delayed(sshd.spec, NARROW) as (spec, proxy),
            _through(bench, spec, round_trip=ROUND_TRIP) as (many, typed, tuned),
        ):
            name = f"through SSH, {ROUND_TRIP * 1000:.0f} ms round trip, {NARROW * 8 / 1e6:.0f} Mbit/s"
            route = Route(name, 1.0, None, many, typed, tuned, apart=(proxy,))
            _print_pairs(name, bench, route, typed, None, pairs=1)


@contextmanager
def _through(bench: Bench, spec: SshSpec, *, round_trip: float = 0.0) -> Iterator[tuple[Sequence[str], Peer, str]]:
    """What the engine and nbdcopy have through SSH."""
    served = bench.exporter()
    with (
        copy_forwards(spec, served, round_trip=round_trip) as many,
        bench.typed_forward(spec) as typed,
        open_forwards("the bench's sshd", spec, [served]) as one,
    ):
        yield many, Peer("nbdcopy as typed: one ssh -L, its own connections", typed), one.sockets[0]


@contextmanager
def copy_forwards(spec: SshSpec, socket: str, *, round_trip: float = 0.0) -> Iterator[Sequence[str]]:
    """Sockets as a copy gets them of which much is moved: each as often as it carries connections."""
    limit = OpenTunnelIn().connections * nbd_server.CONNECTIONS_PER_FORWARD
    chosen = choose(round_trip=round_trip, limit=limit)
    with open_forwards("the bench's sshd", spec, [socket] * chosen.ssh_processes) as forwards:
        yield forwards.sockets * (chosen.connections // chosen.ssh_processes)


def _print_two_at_once(bench: Bench, many: Sequence[str], others: Sequence[str]) -> None:
    direct = [[bench.exporter(number)] * DIRECT for number in (0, 1)]
    for name, forwards in (("direct", direct), ("through SSH", [many, others])):
        costs = [bench.two_at_once(forwards) for _ in range(3)]
        cores = median([*costs])
        used = (cores.cpu + cores.servers) / cores.seconds
        print(f"two disks at once, {name}: {used:.1f} cores busy")
        print(_line("engine, a thread a disk", costs), flush=True)


if __name__ == "__main__":
    main()
