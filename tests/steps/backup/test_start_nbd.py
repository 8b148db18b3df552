from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runner.base.errors import HostError, Interrupted
from runner.base.units import MiB
from runner.hosts.connect import connect
from runner.hosts.host import Child
from runner.hosts.local import LocalHost
from steps.backup.start_nbd import StartNbd, StartNbdIn
from steps.copy.compare import compare
from steps.copy.digests import Digests
from steps.copy.engine import copy
from steps.copy.memory import MemoryDisk, MemoryEndpoint
from steps.copy.nbd import probe
from steps.copy.nbd_endpoint import NbdEndpoint
from steps.lab.sshd import Sshd
from steps.nbd.exporter import ExporterError
from steps.qemu import img
from steps.values.export import Export
from steps.values.image import Image
from tests.hub import Hub, hub_on, vm

pytestmark = pytest.mark.slow

STEP = StartNbd()


def start(hub: Hub, context, image: Image, connections: int = 4) -> Export:
    inputs = StartNbdIn.from_json_value({"image": image.to_json_value(), "connections": connections})
    return STEP.run(context, inputs, STEP.Live())


def uri(export: Export) -> str:
    return export.nbd_targets.partition(":")[2]


def test_an_image_is_served_for_writing(any_hub: Hub) -> None:
    context = any_hub.context()
    with context.closing:
        export = start(any_hub, context, any_hub.image())
        seen = probe(uri(export), 10)
        assert (seen.size, seen.read_only, seen.multi_conn) == (4 * MiB, False, True)
        assert (export.host, export.export) == ("hub", "pgtest1-disk-2000")
        assert export.nbd_targets == f"2000:nbd+unix:///pgtest1-disk-2000?socket={export.socket}"
        assert STEP.probe(context, export)
    assert not STEP.probe(context, export)
    assert not Path(export.socket).parent.exists()


def test_an_image_is_opened_past_the_page_cache(any_hub: Hub) -> None:
    context = any_hub.context()
    with context.closing:
        start(any_hub, context, any_hub.image())
        assert "--cache=none" in context.children[0].argv


def test_a_server_keeps_the_memory_of_its_requests(hub: Hub, tmp_path: Path) -> None:
    """Else the kernel gives it each page of each request anew, 256 for a MiB, which costs it more than to copy them."""
    content = MemoryDisk(4 * MiB)
    content.write(0, b"x" * 4 * MiB)
    context = hub.context()
    with context.closing:
        export = start(hub, context, hub.image())
        stat = Path(f"/proc/{pid_of(export.socket)}/stat")

        def faults() -> int:
            return int(stat.read_text().rpartition(")")[2].split()[7])

        def write_and_read() -> None:
            with NbdEndpoint([uri(export)], "image") as image, Digests.create(tmp_path / "digests", 4 * MiB) as digests:
                copy(MemoryEndpoint(content, "source"), image, digests, stop=context.stop)
                compare(image, digests, stop=context.stop)

        write_and_read()
        before = faults()
        for _ in range(4):
            write_and_read()
        assert faults() - before < 4 * 8 * 256 // 2


def test_a_file_system_without_direct_reads_is_used_through_the_cache(hub: Hub) -> None:
    """ramfs takes no O_DIRECT; it is mounted over the image's directory in the exporter's own mount namespace."""

    class RamfsHost(LocalHost):
        def popen(self, argv: Iterable[str]) -> Child:
            script = 'd=$1 && shift && exec 3<"$d/disk-2000.qcow2" && mount -t ramfs none "$d" && cat <&3 >"$d/disk-2000.qcow2" && exec "$@"'
            return super().popen(
                ("unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh", image.directory, *argv)
            )

    if subprocess.run(["unshare", "--map-root-user", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no user namespaces here, so no file system without O_DIRECT can be mounted")
    image = hub.image()
    hub.host = RamfsHost("hub")
    context = hub.context()
    with context.closing:
        export = start(hub, context, image)
        assert "--cache=writeback" in context.children[0].argv
        assert STEP.probe(context, export)
    said = [child.stderr() for child in context.children]
    assert len(said) == 1


def test_two_connections_for_each_forward_and_two_more(hub: Hub) -> None:
    context = hub.context()
    with context.closing:
        assert start(hub, context, hub.image(), connections=7).shared == 16


def remove(image: Image) -> None:
    Path(image.path).unlink()


def shrink(image: Image) -> None:
    img.create(LocalHost("hub"), image.path, MiB)


def spoil(image: Image) -> None:
    Path(image.path).write_bytes(b"QFI\xfb" + bytes(508))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        pytest.param(remove, "there is no such image", id="missing"),
        pytest.param(shrink, "the image has 1048576 bytes, the disk 4194304", id="of another size"),
        pytest.param(spoil, "cannot be opened as a qcow2 image", id="no image"),
    ],
)
def test_a_wrong_image_is_never_served(hub: Hub, harm: Callable[[Image], None], said: str) -> None:
    image = hub.image()
    harm(image)
    context = hub.context()
    with context.closing, pytest.raises((ExporterError, img.BadImageError), match=said) as caught:
        start(hub, context, image)
    assert not caught.value.transient
    assert context.children == []


def test_a_server_that_dies_at_once_is_an_error_at_once_with_what_it_said(hub: Hub) -> None:
    image = hub.image()
    first, second = hub.context(), hub.context()
    with first.closing, second.closing:
        start(hub, first, image)
        with pytest.raises(ExporterError, match=r'qemu-nbd on hub cannot serve disk 2000 .*"write" lock') as caught:
            start(hub, second, image)
    # An exporter of a run that was just killed lives a moment longer.
    assert caught.value.transient
    assert caught.value.message.count("\n") == 0


def test_a_missing_qemu_nbd_is_a_sentence(hub: Hub) -> None:
    class Bare(LocalHost):
        def popen(self, argv: Iterable[str]) -> Child:
            return super().popen(("/nonexistent/qemu-nbd", *tuple(argv)[1:]))

    hub.host = Bare("hub")
    context = hub.context()
    with context.closing, pytest.raises(Exception, match="qemu-nbd") as caught:
        start(hub, context, hub.image())
    assert hasattr(caught.value, "message")


def test_a_stop_ends_the_wait(hub: Hub) -> None:
    hub.stop.set()
    context = hub.context()
    with context.closing, pytest.raises(Interrupted):
        start(hub, context, hub.image())


@contextmanager
def hub_behind(sshd_options: dict[str, str], directory: Path) -> Iterator[Hub]:
    server = Sshd(directory / "sshd", sshd_options)
    server.start()
    host = connect("hub", server.spec)
    try:
        with hub_on(host, str(directory / "repository"), directory) as hub:
            yield hub
    finally:
        host.close()
        server.stop()


def test_an_sshd_that_prohibits_forwards_is_named(tmp_path: Path) -> None:
    with hub_behind({"DisableForwarding": "yes"}, tmp_path) as hub:
        context = hub.context()
        with context.closing, pytest.raises(HostError, match="AllowStreamLocalForwarding local"):
            start(hub, context, hub.image())


def test_a_dead_server_is_noticed(hub: Hub) -> None:
    context = hub.context()
    with context.closing:
        export = start(hub, context, hub.image())
        pid = pid_of(export.socket)
        os.kill(pid, signal.SIGKILL)
        while STEP.probe(context, export):
            os.sched_yield()


def test_two_vms_of_similar_names_have_exporters_of_their_own(hub: Hub) -> None:
    contexts = [hub.context(), hub.context()]
    machines = [vm("a", instance_uuid="5013e3a5-9f10-4a5e-8b32-00000000000a"), vm("a-b")]
    with contexts[1].closing:
        with contexts[0].closing:
            exports = [
                start(hub, context, hub.image(machine=machine))
                for context, machine in zip(contexts, machines, strict=True)
            ]
            assert [export.export for export in exports] == ["a-disk-2000", "a-b-disk-2000"]
        assert STEP.probe(contexts[1], exports[1])
        assert probe(uri(exports[1]), 10).size == 4 * MiB


def pid_of(socket: str) -> int:
    """Of the one process whose command line has the socket."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[0] == b"qemu-nbd" and f"--socket={socket}".encode() in words:
                return int(entry.name)
    raise AssertionError(f"no qemu-nbd serves {socket}")
