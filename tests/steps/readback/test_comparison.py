from __future__ import annotations

import contextlib
import os
import random
import socket
import socketserver
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.base.errors import CommandError, Interrupted
from runner.base.units import GiB, KiB, MiB, TiB, human_bytes
from runner.hosts.connect import connect
from runner.hosts.host import Host
from runner.hosts.local import LocalHost
from runner.hosts.supervisor import NoRoomError
from runner.step.tools import ToolMissing
from steps.copy.compare import Compared
from steps.copy.digests import Digests
from steps.lab.sshd import Sshd
from steps.nbd import forwards
from steps.readback import comparison, on_host, wanted
from steps.readback.on_host import StalledError
from steps.readback.wanted import Wanted
from tests.eventually import eventually
from tests.hub import Hub, hub_on
from tests.programs import Programs
from tests.steps.nbd.test_forwards import free_ports
from tests.steps.readback.images import BLOCKS, CONTENT, Stored, stored, with_overlay

pytestmark = pytest.mark.slow

HOSTILE = 'a, "b" driver=raw,x:y;{$HOME} \'ü'


@pytest.fixture
def full(tmp_path: Path) -> Stored:
    return stored(tmp_path / "full")


@pytest.fixture
def increment(full: Stored, tmp_path: Path) -> Stored:
    return with_overlay(full, tmp_path / "increment")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """The first programs that a local host finds."""
    made = Programs(tmp_path / "bin")
    monkeypatch.setenv("PATH", made.path)
    return made


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Hub]:
    """A host that counts as another machine, with what a local host finds."""

    class Far(LocalHost):
        local = False

    with hub_on(Far("hub"), str(tmp_path / "repository"), tmp_path) as hub:
        yield hub


@pytest.fixture(autouse=True)
def used_there(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """The directories with content that were used on a host; none of them is left at the end."""
    used: list[Path] = []
    prove = on_host._prove

    def record(host: Host, directory: str) -> None:
        used.append(Path(directory))
        prove(host, directory)

    monkeypatch.setattr(on_host, "_prove", record)
    yield used
    assert not [path for path in used if path.exists()]


@pytest.mark.parametrize("how", ["host", "wire"])
def test_a_disk_with_holes_and_a_short_last_block_is_equal(
    any_hub: Hub, full: Stored, how: comparison.Readback
) -> None:
    seen = full.read_back(any_hub, how)
    assert (seen.found.offsets, seen.found.compared, seen.by, seen.cached) == ((), BLOCKS, how, False)
    assert seen.reread == (how == "host")
    assert not any_hub.warnings


def test_a_sparse_disk_of_five_gib_and_a_sector_is_equal(hub: Hub, tmp_path: Path) -> None:
    large = stored(tmp_path / "large", 5 * GiB + 512, (0, 4097, 5 * 1024))
    seen = large.read_back(hub)
    assert (seen.found.offsets, seen.found.compared, seen.by) == ((), 5 * 1024 + 1, "host")


def test_a_name_means_nothing_to_qemu_or_a_shell(any_hub: Hub, tmp_path: Path) -> None:
    assert stored(tmp_path / HOSTILE).read_back(any_hub).by == "host"


def test_what_an_incremental_inherits_is_read_through_its_chain(any_hub: Hub, increment: Stored) -> None:
    seen = increment.read_back(any_hub)
    assert (seen.found.offsets, seen.found.compared, seen.by) == ((), BLOCKS, "host")


def test_single_blocks_are_read_alone(hub: Hub, increment: Stored) -> None:
    blocks = [0, MiB, 8 * MiB, 12 * MiB, 40 * MiB]
    increment.write(2 * MiB, MiB, 1)
    assert increment.read_back(hub, blocks=blocks).found.blocks == ()
    increment.write(12 * MiB, 512, 1)
    assert increment.read_back(hub, blocks=blocks).found.offsets == (12 * MiB,)


def test_of_some_blocks_only_content_is_read_over_the_wire(hub: Hub, increment: Stored) -> None:
    told: list[Compared] = []
    blocks = [(7 * MiB, 2 * MiB), (20 * MiB, 6 * MiB), (40 * MiB, 512)]
    seen = increment.reader(hub, tell=told.append).read_back(blocks, "wire")
    assert (seen.found.blocks, seen.found.compared) == ((), 9)
    assert told[-1].read == MiB + 64 * KiB + 512, "block 8 became zero, and of block 20 one cluster is content"
    increment.write(25 * MiB, 512, 1)
    assert increment.reader(hub).read_back(blocks, "wire").found.offsets == (25 * MiB,)


@pytest.fixture
def chain(increment: Stored, tmp_path: Path) -> Stored:
    """Of four images."""
    return with_overlay(with_overlay(increment, tmp_path / "second"), tmp_path / "third")


APART = [0, 2 * MiB, 8 * MiB, 20 * MiB, 30 * MiB, 33 * MiB, 40 * MiB]
"""Blocks of which no two are neighbours."""


@pytest.fixture(params=["sockets", "ports"])
def served_at(
    request: pytest.FixtureRequest, sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Hub]:
    """A host whose servers are reached on sockets, or on ports."""
    monkeypatch.setattr(forwards, "kind_for", lambda ctx, host: request.param)
    first, last = free_ports(3)
    host = connect("hub", sshd.spec.model_copy(update={"ports": f"{first}-{last}"}))
    try:
        with hub_on(host, str(tmp_path / "repository"), tmp_path) as made:
            yield made
    finally:
        host.close()


def test_a_block_alone_in_a_long_chain_costs_no_opening_of_that_chain(
    served_at: Hub, chain: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has it open already: qemu-img would open each image again for each run of blocks."""
    asked: list[bytes] = []
    run = on_host._run
    monkeypatch.setattr(on_host, "_run", lambda *told: asked.append(told[4].encode()) or run(*told))
    chain.write(2 * MiB, 64 * KiB, 1)
    rot_below(chain)
    seen = chain.read_back(served_at, blocks=APART)
    assert (seen.found.offsets, seen.by) == ((2 * MiB, 33 * MiB), "host")
    together = chain.read_back(served_at, blocks=range(2 * MiB, 34 * MiB, MiB))
    assert (together.found.offsets, together.by) == ((2 * MiB, 33 * MiB), "host")
    assert [line.split()[0] for line in asked] == [b"files", b"server", b"files", b"files"]
    assert len(asked[1].split()) == 1 + 2 * len(APART)


def rot(stored: Stored) -> None:
    stored.write(20 * MiB + 501 * KiB, 1, 3)


def rot_below(stored: Stored) -> None:
    Stored(stored.raw, stored.images[-1:], stored.digests).write(33 * MiB, 512, 3)


def zeroed(stored: Stored) -> None:
    stored.write(7 * MiB, 64 * KiB, 0)


def in_a_hole(stored: Stored) -> None:
    stored.write(25 * MiB + 900 * KiB, 512, 3)


def in_the_last_sector(stored: Stored) -> None:
    stored.write(40 * MiB, 512, 3)


def truncated(stored: Stored) -> None:
    os.truncate(stored.images[-1], stored.images[-1].stat().st_size - 3 * MiB)


def several(stored: Stored) -> None:
    for damage in (rot, zeroed, in_a_hole, in_the_last_sector):
        damage(stored)


DAMAGES = [rot, rot_below, zeroed, in_a_hole, in_the_last_sector, truncated, several]


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_host_finds_what_the_wire_finds(hub: Hub, increment: Stored, damage: Callable[[Stored], None]) -> None:
    damage(increment)
    over_wire = increment.read_back(hub, "wire").found
    assert over_wire.blocks
    for most in (100, 1):
        seen = increment.read_back(hub, most=most)
        assert [(one.offset, one.expected, one.found) for one in seen.found.blocks] == [
            (one.offset, one.expected, one.found) for one in over_wire.blocks[:most]
        ]
    assert seen.found.compared == over_wire.offsets[0] // MiB + 1
    assert not hub.warnings


def lies(how: str, put: str = "b3sum") -> tuple[str, str]:
    return put, f"#!/bin/sh\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\n{how}\n"


CONSTANT = (
    "for file; do case $file in */*) echo 00000000000000000000000000000000000000000000000000000000000000ff;; esac; done"
)
LIARS = {
    "a constant": lies(f'[ "$1" = --version ] && exec b3sum "$@"\n{CONSTANT}'),
    "right once, then a constant": lies(
        '[ "$1" = --version ] && exec b3sum "$@"\nif ! [ -e "$(dirname "$0")/known" ]; then touch "$(dirname "$0")/known"; '
        f'exec b3sum "$@"; fi\n{CONSTANT}'
    ),
    "too few lines": lies('if [ $# -gt 8 ]; then b3sum "$@" | sed 1d; else exec b3sum "$@"; fi'),
    "half of them": lies('if [ $# -gt 8 ]; then b3sum "$@" | head -n 2; kill -9 $$; else exec b3sum "$@"; fi'),
    "no digests": lies('if [ $# -gt 8 ]; then b3sum "$@" | tr a-f x; else exec b3sum "$@"; fi'),
    "a map of nothing": lies('case $1 in map) echo "[]";; *) exec qemu-img "$@";; esac', "qemu-img"),
    "no split": lies("exit 1", "split"),
}


SEEN_BY = {
    LIARS["a constant"]: "another digest than that of random blocks",
    LIARS["right once, then a constant"]: "a wrong digest of the block at offset 0 of",
    LIARS["too few lines"]: "b3sum printed 7 lines for 8 blocks",
}
"""What shows it."""


@pytest.mark.parametrize("liar", LIARS.values(), ids=LIARS.keys())
@pytest.mark.parametrize("damage", [None, rot])
def test_tools_that_lie_or_fail_are_named_and_all_is_read_over_the_wire(
    hub: Hub, full: Stored, programs: Programs, liar: tuple[str, str], damage: Callable[[Stored], None] | None
) -> None:
    if damage is not None:
        damage(full)
    programs.put(*liar)
    seen = full.read_back(hub)
    assert (seen.found.offsets, seen.by) == (() if damage is None else (20 * MiB,), "wire")
    (said,) = hub.warnings
    assert said.startswith("disk 2000: the digests that qemu-img and b3sum make on host hub cannot be used: ")
    assert said.endswith("; all of it is read over the wire")
    assert "\n" not in said
    assert SEEN_BY.get(liar, "") in said


def test_a_difference_that_the_host_does_not_admit_is_found_by_the_share_that_is_read_over_the_wire(
    hub: Hub, full: Stored, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The digests file lies beside the image: tools that say what it says are right about everything they print."""
    expected = "".join(f"{full.digests.expected(block * MiB).hex()}\n" for block in CONTENT)
    programs.put(*lies(f"if [ $# -gt 8 ]; then printf '{expected}'; else exec b3sum \"$@\"; fi"))
    rot(full)
    monkeypatch.setattr(wanted, "REREAD_SHARE", 0.0)
    assert full.read_back(hub, "host").found.offsets in ((), (20 * MiB,)), "one block in eight is looked at"
    monkeypatch.setattr(wanted, "REREAD_SHARE", 1.0)
    seen = full.read_back(hub, "host")
    assert (seen.found.offsets, seen.by, seen.reread) == ((20 * MiB,), "host", len(CONTENT))


def test_where_tools_are_missing_auto_reads_over_the_wire_and_host_fails(
    far: Hub, full: Stored, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "SMALL", 1)
    monkeypatch.setattr("tests.programs.ELSEWHERE", "")
    without_b3sum(programs, monkeypatch)
    seen = full.read_back(far, "auto")
    assert (seen.found.blocks, seen.by) == ((), "wire")
    assert "host hub has no b3sum: install b3sum 1.0 or newer there (Debian package b3sum)" in seen.why
    assert not far.warnings
    with pytest.raises(ToolMissing, match="host hub has no b3sum"):
        full.read_back(far, "host")


def without_b3sum(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PATH that leads to everything else. (Supervised programs find those of /usr/sbin and /sbin too.)"""
    for place in ("/bin", "/usr/bin"):
        for program in Path(place).iterdir():
            link = programs.directory / program.name
            if program.name != "b3sum" and not link.is_symlink():
                link.symlink_to(program)
    monkeypatch.setenv("PATH", str(programs.directory))


def test_without_room_auto_reads_over_the_wire_and_host_fails(
    far: Hub, full: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "SMALL", 1)
    monkeypatch.setattr(on_host, "ROOM", 2**60)
    seen = full.read_back(far, "auto")
    assert (seen.by, "hub has no " in seen.why) == ("wire", True)
    with pytest.raises(NoRoomError, match=r"hub has no .* free"):
        full.read_back(far, "host")


FILLS = 'if [ "$(stat -c %s "$5")" -gt 2000000 ]; then exec cat "$5" >/dev/full; fi; exec split "$@"'


def test_room_that_runs_out_on_the_way_is_no_fault_of_the_tools(
    far: Hub, full: Stored, monkeypatch: pytest.MonkeyPatch, programs: Programs
) -> None:
    monkeypatch.setattr(comparison, "SMALL", 1)
    programs.put(*lies(FILLS, "split"))
    seen = full.read_back(far, "auto")
    assert (seen.found.blocks, seen.by, seen.why.startswith("hub has no room left in /")) == ((), "wire", True)
    assert not far.warnings
    with pytest.raises(NoRoomError, match=r"^hub has no room left in /\S+, where it digests .*: make room there"):
        full.read_back(far, "host")


def test_the_help_says_what_auto_asks_for_and_when_it_is_measured() -> None:
    page = Path("templates/help/topologies.md").read_text()
    (row,) = (line for line in page.splitlines() if line.startswith("| `auto` |"))
    measured = human_bytes(comparison._MEASURED * MiB).replace(".0", "")
    for said in (human_bytes(on_host.ROOM).replace(".0", ""), f"{comparison.SMALL} MiB", measured):
        assert said in row


def test_the_help_says_where_what_is_digested_lies_on_the_host() -> None:
    page = Path("templates/help/security.md").read_text()
    (entry,) = (entry for entry in page.split("\n- ") if "readback" in entry)
    for said in ("`/dev/shm`", "TMPDIR", "`/tmp`", "0700", "sendense sweep"):
        assert said in entry


@pytest.mark.parametrize(("speed", "by"), [(0.0, "host"), (1e15, "wire")], ids=["the host is faster", "the wire is"])
@pytest.mark.parametrize("damage", [None, zeroed, in_the_last_sector])
def test_auto_reads_all_of_it_by_what_was_measured_to_be_faster(
    far: Hub,
    full: Stored,
    monkeypatch: pytest.MonkeyPatch,
    speed: float,
    by: str,
    damage: Callable[[Stored], None] | None,
) -> None:
    if damage is not None:
        damage(full)
    expected = full.read_back(far, "wire").found
    monkeypatch.setattr(comparison, "SMALL", 1)
    monkeypatch.setattr(comparison, "_MEASURED", 4)
    check = comparison._Check._compare_speeds
    monkeypatch.setattr(comparison._Check, "_compare_speeds", lambda self, wire, *there: check(self, speed, *there))
    told: list[Compared] = []
    seen = full.reader(far, tell=told.append).read_back(None, "auto")
    assert (seen.found.offsets, seen.found.compared, seen.by) == (expected.offsets, expected.compared, by)
    assert "/s over the wire" in seen.why
    assert ("its host was measured to be slower" in seen.why) == (by == "wire")
    assert bool(seen.tools) == (by == "host")
    if by == "wire" and damage is None:
        whole = len(CONTENT) - 2  # the others hold some bytes in the middle, and a sector
        assert told[-1].read >= whole * MiB, "what the host had digested is read over the wire too"


@pytest.mark.parametrize("small", [True, False])
def test_auto_pays_for_nothing_where_the_image_is_here_or_small(
    far: Hub, hub: Hub, full: Stored, small: bool, programs: Programs
) -> None:
    programs.put(*lies("exit 1"))
    assert full.read_back(far if small else hub, "auto").by == "wire"


def test_a_stop_ends_it_within_seconds_and_nothing_is_left_there(
    far: Hub, full: Stored, programs: Programs, used_there: list[Path]
) -> None:
    programs.once("b3sum", "*block-aah*")
    outcome: list[BaseException] = []

    def read() -> None:
        try:
            full.read_back(far)
        except BaseException as error:  # noqa: BLE001  # the test looks at it
            outcome.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        assert eventually(programs.runs)
        assert used_there[0].exists()
        far.stop.set()
        thread.join(8)
        assert not thread.is_alive()
    finally:
        far.stop.set()
        thread.join()
    assert [type(error) for error in outcome] == [Interrupted]
    assert eventually(programs.is_gone)


@pytest.mark.parametrize("what", [("b3sum", "*block-aah*"), ("qemu-img", r"\ map\ ")], ids=["digests", "map"])
def test_what_does_not_move_is_given_up_and_may_be_tried_again_and_auto_turns_to_the_wire(
    far: Hub, full: Stored, programs: Programs, monkeypatch: pytest.MonkeyPatch, what: tuple[str, str]
) -> None:
    monkeypatch.setattr(on_host, "STALL", 1.0)
    monkeypatch.setattr(on_host, "_MAP_TIMEOUT", 1.0)
    programs.once(*what)
    with pytest.raises(StalledError, match=r"nothing came in 1\.0 s") as found:
        full.read_back(far, "host")
    assert found.value.transient and not far.warnings
    assert eventually(programs.is_gone)
    monkeypatch.setattr(comparison, "SMALL", 1)
    programs.once(*what)
    seen = full.read_back(far, "auto")
    assert (seen.found.blocks, seen.found.compared, seen.by) == ((), BLOCKS, "wire")
    (said,) = far.warnings
    assert "nothing came in 1.0 s" in said and said.endswith("; all of it is read over the wire")
    assert eventually(programs.is_gone)


@pytest.mark.parametrize("place", ["hub", "far"])
def test_a_slow_host_is_waited_for_as_long_as_it_moves(
    request: pytest.FixtureRequest, full: Stored, programs: Programs, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Windows of one command come one by one, each in less than the time that is waited for a sign of it."""
    monkeypatch.setattr(on_host, "WINDOW", 1)
    monkeypatch.setattr(on_host, "STALL", 2.0)
    programs.put("b3sum", 'sleep 0.7; exec /usr/bin/b3sum "$@"')
    assert full.read_back(request.getfixturevalue(place), "host").by == "host"


@pytest.mark.parametrize("broken", [("b3sum", "exit 3"), ("b3sum", "kill -9 $$"), ("qemu-img", "exit 3")])
def test_tools_that_do_not_even_start_are_no_trouble_for_auto(
    far: Hub, full: Stored, programs: Programs, monkeypatch: pytest.MonkeyPatch, broken: tuple[str, str]
) -> None:
    monkeypatch.setattr(comparison, "SMALL", 1)
    programs.put(*lies(broken[1], broken[0]))
    assert full.read_back(far, "auto").by == "wire"
    assert len(far.warnings) == 1 and far.warnings[0].endswith("; all of it is read over the wire")
    with pytest.raises(CommandError, match=broken[0]):
        full.read_back(far, "host")


def test_a_share_of_the_content_is_read_over_the_wire_too_and_another_one_each_time(tmp_path: Path) -> None:
    digests = Digests.create(tmp_path / "digests", 4 * TiB)
    for block in range(0, 40_000, 2):
        digests.put(block * MiB, b"x" * 32)
    chosen = [Wanted(digests, None).reread(random.SystemRandom()) for _ in range(2)]
    for count, blocks in chosen:
        assert count == 20_000
        assert 50 < len(blocks) < 200
        assert blocks == sorted(set(blocks)) and all(block % (2 * MiB) == 0 for block in blocks)
    assert chosen[0] != chosen[1]
    assert Wanted(digests, [(2 * MiB, 2 * MiB)]).reread(random.SystemRandom()) == (1, [2 * MiB])
    assert Wanted(digests, [(3 * MiB, MiB)]).reread(random.SystemRandom()) == (0, [])


def test_what_is_to_be_read_of_many_tib_is_never_held(tmp_path: Path) -> None:
    digests = Digests.create(tmp_path / "digests", 62 * TiB)
    for tebibyte in range(62):
        digests.put(tebibyte * TiB + 7 * MiB, b"x" * 32)
    tracemalloc.start()
    try:
        found = sum(1 for _ in Wanted(digests, None).to_read(lambda start, end: [(start, end - MiB)]))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == 62 + 62 * 4, "of each TiB its content, and of each question what the image does not call zero"
    assert peak < MiB


KILLED = """
import os, sys
from pathlib import Path
from runner.hosts.connect import connect
from runner.hosts.spec import SshSpec
from steps.copy.digests import Digests
from tests.hub import hub_on
from tests.steps.readback.images import CAPACITY, Stored

there, host = Path(sys.argv[2]), connect("hub", SshSpec.model_validate_json(sys.argv[1]))
digests = Digests(there / "digests", CAPACITY, os.O_RDONLY)
with hub_on(host, str(there / "repository"), there) as hub:
    Stored(there / "source.raw", (there / "disk.qcow2",), digests).read_back(hub)
"""


def test_nothing_is_left_on_a_host_whose_runner_was_killed(full: Stored, tmp_path: Path) -> None:
    programs = Programs(tmp_path / "bin")
    programs.once("b3sum", "*block-aah*", 'echo "$@" >"$here/given"; exec sleep 3600')
    server = Sshd(tmp_path / "sshd", {"SetEnv": f"SHLVL=2 PATH={programs.path}"})
    server.start()
    try:
        spec = server.spec.model_dump_json(by_alias=True)
        argv = [sys.executable, "-c", KILLED, spec, str(full.raw.parent)]
        with subprocess.Popen(argv, cwd=Path(__file__).parents[3]) as runner:
            assert eventually(programs.runs)
            directory = Path((programs.directory / "given").read_text().split()[-1]).parent.parent
            assert directory.name.startswith("sd-") and directory.exists()
            runner.kill()
        assert eventually(programs.is_gone)
        assert eventually(lambda: not directory.exists())
    finally:
        server.stop()


class Counting(socketserver.BaseRequestHandler):
    """What a server on loopback sends to whom it connects with, counted."""

    server: CountingServer

    def handle(self) -> None:
        with socket.create_connection(("127.0.0.1", self.server.port)) as far:
            threading.Thread(target=self._hand_on, args=(self.request, far, False), daemon=True).start()
            self._hand_on(far, self.request, True)

    def _hand_on(self, source: socket.socket, target: socket.socket, counts: bool) -> None:
        with contextlib.suppress(OSError):
            while content := source.recv(1 << 16):
                self.server.carried += len(content) * counts
                target.sendall(content)
            target.shutdown(socket.SHUT_WR)


class CountingServer(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), Counting)
        self.port = port
        self.carried = 0


def test_what_travels_is_the_share_that_is_reread_and_one_percent_at_most(sshd: Sshd, tmp_path: Path) -> None:
    data = 128 * MiB
    large = stored(tmp_path / "large", 2 * data, range(128))
    with CountingServer(sshd.port) as counting:
        threading.Thread(target=counting.serve_forever, daemon=True).start()
        host = connect("hub", sshd.spec.model_copy(update={"port": counting.server_address[1]}))
        try:
            with hub_on(host, str(tmp_path / "repository"), tmp_path) as hub:
                before = counting.carried
                seen = large.read_back(hub)
                carried = counting.carried - before
        finally:
            host.close()
            counting.shutdown()
    assert (seen.found.blocks, seen.by) == ((), "host")
    assert seen.reread * MiB < carried < data // 100 + seen.reread * MiB


def test_doctor_says_whether_a_host_can_digest_its_images(
    far: Hub, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = on_host.examine(far.context(), far.host)
    assert seen.state == "good" and "b3sum 1" in seen.found
    without_b3sum(programs, monkeypatch)
    far.shared.clear()
    seen = on_host.examine(far.context(), far.host)
    assert (seen.state, "Debian package b3sum" in seen.found) == ("noted", True)
