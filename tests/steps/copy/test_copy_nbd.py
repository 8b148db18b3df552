"""copy() between real servers: qemu-nbd and nbdkit, their faults and their deaths."""

import gc
import random
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from runner.base.units import GiB, KiB, MiB, TiB
from steps.copy.digests import Digests
from steps.copy.endpoint import ConnectFailed, RequestFailed, Stalled
from steps.copy.engine import Progress, Tuning, copy
from steps.copy.nbd import probe
from steps.copy.nbd_endpoint import NbdEndpoint
from steps.copy.traffic import Traffic
from tests.eventually import eventually
from tests.nbd_servers import Servers, qcow2, raw

pytestmark = pytest.mark.slow

SIZE = 24 * MiB + 512


@pytest.fixture
def servers():
    with Servers() as started:
        yield started


def _write(path, offset, content):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def _content(length, seed=1):
    return random.Random(seed).randbytes(length)


def _copy(tmp_path, source, target, connections=2, **options):
    with (
        NbdEndpoint([source.uri] * connections, "source of disk 2000") as reader,
        NbdEndpoint([target.uri] * connections, "image of disk 2000") as writer,
        Digests.create(tmp_path / "digests", reader.abilities.size) as digests,
    ):
        return copy(reader, writer, digests, **{"stop": threading.Event(), **options})


def _assert_equal(image, source):
    argv = ("qemu-img", "compare", "-f", "qcow2", "-F", "raw", str(image), str(source))
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _filled(path, size=SIZE):
    _write(raw(path, size), 0, _content(size))
    return path


def test_a_sparse_disk_of_5_gib_and_a_sector_arrives_though_the_server_is_killed_right_after(servers, tmp_path):
    size = 5 * GiB + 512
    disk = raw(tmp_path / "source.raw", size)
    for offset, length in ((0, 512), (2 * GiB + 510 * KiB, 4 * KiB), (4 * GiB - 512, 1024), (size - 512, 512)):
        _write(disk, offset, _content(length, seed=offset))
    image = qcow2(tmp_path / "image.qcow2", size)
    target = servers.qemu_nbd(image, "qcow2")
    done = _copy(tmp_path, servers.qemu_nbd(disk, "raw", "--read-only"), target)
    target.process.send_signal(signal.SIGKILL)
    target.process.wait(10)
    assert done.progress == Progress(data=5 * 64 * KiB + 512, zero=0, skipped=5 * GiB - 5 * 64 * KiB)
    _assert_equal(image, disk)


def test_zeroes_hide_what_the_backing_file_has(servers, tmp_path):
    base = qcow2(tmp_path / "base.qcow2", SIZE)
    subprocess.run(
        ("qemu-io", "-f", "qcow2", "-c", "write -P 7 0 8M", str(base)), check=True, timeout=30, capture_output=True
    )
    image = qcow2(tmp_path / "image.qcow2", SIZE, "-b", "base.qcow2", "-F", "qcow2")
    disk = raw(tmp_path / "source.raw", SIZE)
    _write(disk, MiB, _content(MiB))
    target = servers.qemu_nbd(image, "qcow2")
    done = _copy(tmp_path, servers.nbdkit("--filter=noextents", "-r", "file", str(disk)), target)
    assert done.progress == Progress(data=MiB, zero=7 * MiB, skipped=SIZE - 8 * MiB)
    target.process.terminate()
    target.process.wait(10)
    _assert_equal(image, disk)


def test_a_single_unreadable_sector_fails_the_copy_and_is_named(servers, tmp_path):
    disk = _filled(tmp_path / "source.raw")
    bad = 7 * MiB + 1536
    (tmp_path / "map").write_text(
        f"0x0 + 1\n0x0 {bad:#x} +\n{bad:#x} 0x200 -\n{bad + 512:#x} {SIZE - bad - 512:#x} +\n"
    )
    source = servers.nbdkit("-r", "--filter=ddrescue", "file", str(disk), f"ddrescue-mapfile={tmp_path / 'map'}")
    target = servers.qemu_nbd(qcow2(tmp_path / "image.qcow2", SIZE), "qcow2")
    sentence = r"source of disk 2000 failed: read of 1.0 MiB at offset 7340032: Input/output error"
    with pytest.raises(RequestFailed, match=sentence) as failed:
        _copy(tmp_path, source, target)
    assert not failed.value.transient  # the disk's own answer: a second try meets it again


@pytest.mark.parametrize("frozen", ["source", "target"])
def test_a_stall_ends_the_copy_in_time_and_names_who_is_waited_for(servers, tmp_path, frozen):
    size = 64 * MiB
    source = servers.qemu_nbd(_filled(tmp_path / "source.raw", size), "raw", "--read-only")
    target = servers.qemu_nbd(qcow2(tmp_path / "image.qcow2", size), "qcow2")
    process = {"source": source, "target": target}[frozen].process
    waited_for = {
        "source": r"the copy waits for the source of disk 2000 \(read of 1.0 MiB at offset \d+, connection \d of 2\)$",
        "target": r"the copy waits for the image of disk 2000 \(.*, connection \d of 2\)$",
    }[frozen]
    frozen_at = []

    def freeze(ranges):
        frozen_at.append(time.monotonic())
        process.send_signal(signal.SIGSTOP)

    with pytest.raises(Stalled, match=f"no byte moved for 1.0 s: {waited_for}") as stalled:
        _copy(tmp_path, source, target, on_flushed=freeze, tuning=Tuning(window=8 * MiB, stall_timeout=1.0))
    assert stalled.value.transient
    assert time.monotonic() - frozen_at[0] < 1.0 + 5


def test_a_server_that_dies_in_the_middle_fails_the_copy_at_once(servers, tmp_path):
    size = 64 * MiB
    source = servers.qemu_nbd(_filled(tmp_path / "source.raw", size), "raw", "--read-only")
    target = servers.qemu_nbd(qcow2(tmp_path / "image.qcow2", size), "qcow2")
    with pytest.raises(RequestFailed, match=r"image of disk 2000 failed: .*the connection broke") as failed:
        _copy(
            tmp_path,
            source,
            target,
            on_flushed=lambda ranges: target.process.kill(),
            tuning=Tuning(window=8 * MiB),
        )
    assert failed.value.transient


def test_waiting_for_one_server_costs_nothing_though_another_hung_up(servers):
    gone = servers.nbdkit("memory", str(SIZE))
    slow = servers.nbdkit("--filter=delay", "memory", str(SIZE), "rdelay=700ms")
    with NbdEndpoint([gone.uri], "gone") as idle, NbdEndpoint([slow.uri], "slow") as busy:
        traffic = Traffic(threading.Event(), stall_timeout=20)
        traffic.read(idle, 0, memoryview(bytearray(MiB)), lambda: None)
        while traffic.busy:
            traffic.turn()
        gone.process.kill()
        gone.process.wait(10)
        traffic.read(busy, 0, memoryview(bytearray(MiB)), lambda: None)
        began, used = time.monotonic(), time.thread_time()
        while traffic.busy:
            traffic.turn()
        assert time.thread_time() - used < (time.monotonic() - began) / 4


def test_a_request_after_the_connection_broke_is_called_that_and_may_heal(servers):
    server = servers.nbdkit("memory", "1M")
    with NbdEndpoint([server.uri], "source of disk 2000") as endpoint:
        (channel,) = endpoint.channels
        told = []
        server.process.kill()
        server.process.wait(10)
        channel.read(0, memoryview(bytearray(512)), told.append)
        while channel.in_flight:
            channel.advance(select.POLLIN)
        with pytest.raises(RequestFailed, match="the connection broke") as failed:
            channel.read(0, memoryview(bytearray(512)), told.append)
        assert told[0].transient
        assert failed.value.transient


def test_a_target_without_room_is_an_error_that_says_what_to_do(servers, tmp_path):
    source = servers.qemu_nbd(_filled(tmp_path / "source.raw"), "raw", "--read-only")
    full = servers.nbdkit("--filter=error", "memory", str(SIZE), "error=ENOSPC", "error-pwrite-rate=100%")
    with pytest.raises(RequestFailed, match="No space left on device; make room there and run") as failed:
        _copy(tmp_path, source, full)
    assert not failed.value.transient


def test_servers_that_take_64_kib_a_request_and_cannot_zero_are_served(servers, tmp_path):
    disk = _filled(tmp_path / "source.raw", 8 * MiB)
    policy = (
        "blocksize-minimum=512",
        "blocksize-preferred=4K",
        "blocksize-maximum=64K",
        "blocksize-error-policy=error",
    )
    small = ("--filter=blocksize-policy", "--filter=nozero", "file")
    image = _filled(tmp_path / "image.raw", 8 * MiB)
    _write(disk, 3 * MiB, bytes(2 * MiB))
    done = _copy(
        tmp_path, servers.nbdkit("-r", *small, str(disk), *policy), servers.nbdkit(*small, str(image), *policy)
    )
    assert done.progress == Progress(data=6 * MiB, zero=2 * MiB, skipped=0)
    assert image.read_bytes() == disk.read_bytes()


# VmHWM, since ru_maxrss of a new process starts with that of the process that started it.
MEASURED = """
import sys, threading
from pathlib import Path
from steps.copy.digests import Digests
from steps.copy.engine import copy
from steps.copy.nbd_endpoint import NbdEndpoint
from steps.copy.traffic import Traffic

source, target, digests = sys.argv[1:]
with (
    NbdEndpoint([source] * 2, "source") as reader,
    NbdEndpoint([target] * 2, "target") as writer,
    Digests.create(Path(digests), reader.abilities.size) as kept,
):
    done = copy(reader, writer, kept, stop=threading.Event(), on_flushed=lambda ranges: None)
    print(done.progress.data, done.progress.skipped, kept.counts()[0], kept.digest())
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.parametrize(
    ("size", "data"),
    [
        # Written throughout, so that memory that grows with the data would show.
        pytest.param(6 * GiB, 384 * MiB, id="6-GiB"),
        pytest.param(64 * TiB, 3 * MiB, id="64-TiB"),
    ],
)
def test_peak_memory_does_not_depend_on_the_disk(servers, tmp_path, size, data):
    disk, image = qcow2(tmp_path / "source.qcow2", size), qcow2(tmp_path / "image.qcow2", size)
    step = size // (data // MiB) // MiB * MiB
    commands = [argument for at in range(0, size // step * step, step) for argument in ("-c", f"write -P 7 {at} 1M")]
    subprocess.run(("qemu-io", "-f", "qcow2", *commands, str(disk)), check=True, timeout=120, capture_output=True)
    argv = (
        servers.qemu_nbd(disk, "qcow2", "--read-only").uri,
        servers.qemu_nbd(image, "qcow2").uri,
        str(tmp_path / "digests"),
    )
    done = subprocess.run(
        (sys.executable, "-c", MEASURED, *argv), capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    copied, peak = done.stdout.splitlines()
    written, skipped, counted, _ = copied.split()
    assert (int(written), int(counted), int(skipped)) == (data, data, size - data)
    assert int(peak) * KiB < 200 * MiB


def test_a_probe_tells_what_the_handshake_says(servers, tmp_path):
    found = probe(servers.qemu_nbd(raw(tmp_path / "a.raw", SIZE), "raw", "--read-only").uri, 10)
    assert (found.size, found.read_only, found.multi_conn, found.can_extents) == (SIZE, True, True, True)
    assert found.max_request == 32 * MiB


def test_a_probe_of_a_server_that_accepts_and_says_nothing_ends_in_time(servers):
    server = servers.nbdkit("memory", "1M")
    server.process.send_signal(signal.SIGSTOP)
    begun = time.monotonic()
    with pytest.raises(ConnectFailed, match=r"no NBD handshake with the export at .* sent nothing for 1 s") as failed:
        probe(server.uri, 1.0)
    assert failed.value.transient
    assert time.monotonic() - begun < 5


def test_a_frozen_server_with_many_idle_connections_is_left_after_one_wait(servers):
    server = servers.nbdkit("memory", "1M")
    endpoint = NbdEndpoint([server.uri] * 12, "source of disk 2000")
    server.process.send_signal(signal.SIGSTOP)
    begun = time.monotonic()
    endpoint.close()
    assert time.monotonic() - begun < 6  # one by one it would be twelve


def test_a_probe_of_nothing_and_of_another_export_say_so(servers, tmp_path):
    with pytest.raises(ConnectFailed, match="No such file or directory"):
        probe(f"nbd+unix:///?socket={tmp_path / 'none'}", 5)
    uri = servers.qemu_nbd(raw(tmp_path / "a.raw", SIZE), "raw").uri.replace("///", "///other")
    with pytest.raises(ConnectFailed, match=r"no NBD handshake with the image of disk 2000 at .*other"):
        probe(uri, 5, "the image of disk 2000")


def test_connections_to_disks_of_different_sizes_are_refused(servers):
    uris = [servers.nbdkit("memory", size).uri for size in ("1M", "2M")]
    with pytest.raises(ConnectFailed, match="its size is not the one that"):
        NbdEndpoint(uris, "source of disk 2000")


def _telling(servers, disk, extents):
    """A server of `disk` whose extents are told by a script: $4 is the offset, $3 how many bytes are asked about."""
    pread = f"pread=dd if={disk} skip=$4 count=$3 iflag=count_bytes,skip_bytes status=none"
    return servers.nbdkit("-r", "eval", f"get_size=echo {SIZE}", pread, "can_extents=exit 0", f"extents={extents}")


def test_a_server_that_tells_less_than_it_is_asked_is_asked_for_the_rest(servers, tmp_path):
    asked = tmp_path / "asked"
    script = f'echo $4 >>{asked}; echo "$4 $((SIZE - $4 < 1048576 ? SIZE - $4 : 1048576)) hole,zero"'
    source = _telling(servers, raw(tmp_path / "source.raw", SIZE), script.replace("SIZE", str(SIZE)))
    done = _copy(tmp_path, source, servers.qemu_nbd(qcow2(tmp_path / "image.qcow2", SIZE), "qcow2"), connections=1)
    assert (done.progress.read, done.progress.skipped) == (0, SIZE)
    assert [int(line) for line in asked.read_text().split()] == list(range(0, SIZE, MiB))


def test_a_hole_that_is_not_said_to_be_zero_is_read(servers, tmp_path):
    """It may read as anything (NBD protocol, base:allocation)."""
    disk, image = _filled(tmp_path / "source.raw"), qcow2(tmp_path / "image.qcow2", SIZE)
    target = servers.qemu_nbd(image, "qcow2")
    assert _copy(tmp_path, _telling(servers, disk, 'echo "$4 $3 hole"'), target).progress.read == SIZE
    target.process.kill()
    target.process.wait(10)
    _assert_equal(image, disk)


def test_a_connection_to_another_disk_is_not_added(servers, tmp_path):
    uris = [servers.nbdkit("-r", "memory", f"size={size}").uri for size in (MiB, 2 * MiB)]
    other = servers.qemu_nbd(raw(tmp_path / "disk.raw", MiB), "raw").uri
    with NbdEndpoint(uris[:1], "source of disk 2000") as endpoint:
        for uri in (uris[1], other):
            with pytest.raises(ConnectFailed, match="its export is not the one at"):
                endpoint.add(uri)
        assert len(endpoint.channels) == 1
        endpoint.add(uris[0])
        assert len(endpoint.channels) == 2


def test_a_connection_that_comes_after_the_end_is_closed(servers):
    uri = servers.nbdkit("-r", "memory", f"size={MiB}").uri
    before = _descriptors()
    endpoint = NbdEndpoint([uri], "source of disk 2000")
    endpoint.close()
    endpoint.add(uri)
    assert len(endpoint.channels) == 1
    del endpoint
    assert _descriptors() == before


def test_connections_that_are_added_while_requests_are_under_way_carry_further_ones(servers, tmp_path, monkeypatch):
    monkeypatch.setattr("steps.copy.engine._PROGRESS_INTERVAL", 0.0)
    disk, image = _filled(tmp_path / "source.raw"), qcow2(tmp_path / "image.qcow2", SIZE)
    source, target = servers.nbdkit("-r", "file", str(disk)), servers.qemu_nbd(image, "qcow2")
    used = set()
    with (
        NbdEndpoint([source.uri], "source") as reader,
        NbdEndpoint([target.uri], "image") as writer,
        Digests.create(tmp_path / "digests", SIZE) as digests,
    ):

        def grow(now):
            used.update(channel.label for channel in (*reader.channels, *writer.channels) if channel.in_flight)
            if now.read > 4 * MiB and len(writer.channels) < 3:
                reader.add(source.uri)
                writer.add(target.uri)

        copy(reader, writer, digests, stop=threading.Event(), tuning=Tuning(window=4 * MiB), on_progress=grow)
    target.process.kill()
    target.process.wait(10)
    assert used == {"connection 1 of 1", "connection 2", "connection 3"}
    _assert_equal(image, disk)


def test_no_descriptor_stays_open_after_copies_and_failures(servers, tmp_path):
    source = servers.nbdkit("memory", "1M")
    target = servers.nbdkit("memory", "1M")
    _copy(tmp_path, source, target)
    before = _descriptors()
    for _ in range(5):
        _copy(tmp_path, source, target)
        with pytest.raises(ConnectFailed):
            NbdEndpoint([source.uri, f"{target.uri}-none"], "source")
    assert _descriptors() == before


def _descriptors():
    gc.collect()  # those of the tests before this one
    return len(list(Path("/proc/self/fd").iterdir()))


def test_buffers_are_released_once_their_requests_are_done(servers, tmp_path):
    """A leaked reference keeps 16 MiB of every copy: a process that does many jobs grows by that."""
    server = servers.qemu_nbd(qcow2(tmp_path / "image", MiB), "qcow2")
    content = bytearray(MiB)
    done = []
    with NbdEndpoint((server.uri,), "image") as image, memoryview(content) as view:
        (channel,) = image.channels
        for request in (channel.write, channel.read):
            request(0, view, done.append)
            assert eventually(lambda: channel.advance(select.POLLIN | select.POLLOUT) or not channel.in_flight)
    assert done == [None, None]
    content.clear()  # BufferError if somebody still has a view of it
