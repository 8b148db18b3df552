"""The open-source step with VDDK: nbdkit's real plugin on a stand-in for VMware's library, at the simulator's certificate."""

from __future__ import annotations

import errno
import subprocess
from pathlib import Path
from typing import Any

import pytest

from runner.base.units import MiB
from runner.hosts.host import Host
from runner.hosts.local import LocalHost
from runner.step.preflight import Known
from steps.backup.open_source import NoTransport, OpenSource, OpenSourceIn
from steps.copy.endpoint import ConnectFailed, RequestFailed
from steps.copy.nbd_endpoint import NbdEndpoint
from steps.source import nbdkit_vddk as transport
from steps.source import reachability
from steps.source.disk_file import DiskFile, source_name
from steps.source.nbdkit import SourceFailed
from steps.source.nbdkit_vddk import OutOfBuffers, VddkOptions
from steps.source.open_disks import OpenDisks
from steps.values.discovered import Discovered
from steps.values.snapshot import SnapshotTaken
from steps.values.source import Source
from steps.vsphere.errors import Busy, NotTrusted, PermissionMissing, Unreachable, WrongDisk
from tests.eventually import eventually
from tests.sshd import ssh_host, sshd
from tests.vcenter import PASSWORD, Lab, Starts, disk, machine, vcenters
from tests.vddk_library import Vddk, vddk, vddk_distribution

pytestmark = pytest.mark.slow

__all__ = ["ssh_host", "sshd", "vddk", "vddk_distribution"]

start_vcenter = vcenters

PIECES = {"pieces": [{"offset": 0, "length": 512, "seed": 1}, {"offset": -512, "length": 512, "seed": 2}]}
SPARSE = disk(2000, 0, size="3 MiB + 512 B", content=PIECES)
OTHER = disk(2001, 1, size="2 MiB", content={"pattern": 8})
ESXI = "esxi.cluster1.example"
DISK = DiskFile(2000, "[ds1] a/a.vmdk", "ds1", MiB, "vm-16", "DC1", source_name(2000), "snapshot-1")


def prepared(lab: Lab, vddk: Vddk, **changes: str) -> tuple[Discovered, SnapshotTaken]:
    found = lab.discover()
    taken = lab.snapshot(found)
    vddk.expect_lab(lab, taken.moref, found.vm.moref)
    vddk.expect(**changes)
    return found, taken


def read_all(uri: str) -> bytes:
    done = subprocess.run(["nbdcopy", uri, "-"], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def holes(uri: str) -> int:
    """Bytes that the source says read as zeroes."""
    done = subprocess.run(["nbdinfo", "--map", "--totals", uri], capture_output=True, timeout=60, check=True, text=True)
    return sum(int(line.split()[0]) for line in done.stdout.splitlines() if "hole,zero" in line)


def open_disks(lab: Lab) -> OpenDisks:
    return lab.shared[("open VDDK disks", "prod")]


@pytest.mark.behaviour(31, "reported")
def test_bytes_and_holes_read_through_vddk_are_those_of_the_disks_file(start_vcenter: Starts, vddk: Vddk) -> None:
    lab = start_vcenter(machine(disks=[SPARSE, OTHER]))
    found, taken = prepared(lab, vddk, config="vixDiskLib.nfcAio.Session.BufCount=4")
    for key in (2000, 2001):
        with lab.source(found, taken, key, vddk=vddk.options) as opened:
            source = opened.source
            assert (source.transport, source.why) == ("vddk", "VDDK 8 is on host local")
            (uri,) = source.uris
            assert read_all(uri) == lab.simulator.disk_file("pgtest1", key).read_bytes()
            assert source.extents
            assert holes(uri) == (3 * MiB - 64 * 1024 if key == 2000 else 0)
    assert lab.warnings == []


def test_a_datastore_with_brackets_in_its_name_is_read_by_the_name_that_vsphere_gives(
    start_vcenter: Starts, vddk: Vddk
) -> None:
    stores = {"datastores": [{"name": "ssd [prod]"}]}
    lab = start_vcenter(machine(datastore="ssd [prod]", disks=[OTHER]), datacenter=stores)
    found, taken = prepared(lab, vddk)
    with lab.source(found, taken, 2001, vddk=vddk.options) as opened:
        assert read_all(opened.source.uris[0]) == lab.simulator.disk_file("pgtest1", 2001).read_bytes()


def test_a_server_that_cannot_tell_holes_is_read_whole(start_vcenter: Starts, vddk: Vddk) -> None:
    lab = start_vcenter(machine(disks=[SPARSE]))
    found, taken = prepared(lab, vddk, extents="no")
    with lab.source(found, taken, vddk=vddk.options) as opened:
        assert holes(opened.source.uris[0]) == 0
        assert read_all(opened.source.uris[0]) == lab.simulator.disk_file("pgtest1", 2000).read_bytes()


def test_the_password_is_in_no_command_line_and_in_no_file_once_nbdkit_listens(
    start_vcenter: Starts, vddk: Vddk
) -> None:
    lab = start_vcenter(machine(disks=[OTHER]))
    found, taken = prepared(lab, vddk)
    with lab.source(found, taken, 2001, vddk=vddk.options) as opened:
        directory = Path(opened.source.uris[0].partition("socket=")[2]).parent
        pid = int((directory / "pid").read_text())
        process = Path("/proc") / str(pid)
        assert b"vddk" in (process / "cmdline").read_bytes()  # it ran itself again, and is the same process
        public = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        # In its own command line the plugin hides a password that the shell above it would still show.
        public += " ".join(opened.ctx.children[0].argv).encode()
        assert PASSWORD.encode() not in public
        assert lab.client.cookie().partition('"')[2].rstrip('"').encode() not in public
        assert sorted(path.name for path in directory.iterdir()) == [".owner", "nbd", "pid", "vddk.conf"]
        assert directory.stat().st_mode & 0o777 == 0o700
        assert OpenSource().probe(opened.ctx, opened.source)
    assert not directory.exists()
    assert not process.exists()


def test_the_job_says_how_the_library_reads(start_vcenter: Starts, vddk: Vddk) -> None:
    lab = start_vcenter(machine(disks=[OTHER]))
    found, taken = prepared(lab, vddk, transports="san:nbd")
    options = {**vddk.options, "transports": ["san", "nbd"], "compression": "fastlz", "nfc-host-port": 9902}
    with lab.source(found, taken, 2001, vddk=options, transport="vddk") as opened:
        assert opened.source.why == "the job says so"
        (child,) = opened.ctx.children
        assert {"compression=fastlz", "nfchostport=9902", "minblock=512", "maxdata=2M"} <= set(child.argv)


def test_a_disk_that_https_cannot_read_is_read_through_vddk(start_vcenter: Starts, vddk: Vddk) -> None:
    lab = start_vcenter(machine(disks=[disk(datastore="vsan1", content={"pattern": 3})]))
    found, taken = prepared(lab, vddk)
    assert not taken.disks[0].flat
    with lab.source(found, taken, vddk=vddk.options) as opened:
        assert opened.source.transport == "vddk"
        assert read_all(opened.source.uris[0]) == lab.simulator.disk_file("pgtest1", 2000).read_bytes()


@pytest.mark.behaviour(31, "documented")
@pytest.mark.behaviour(31, "reported")
@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        pytest.param({"thumbprint": "00:11"}, NotTrusted, "mostly a wrong thumbprint", id="thumbprint"),
        pytest.param({"fail": "open:1"}, NotTrusted, "the file is one that a running VM writes", id="live-file"),
        pytest.param({"password": "other"}, PermissionMissing, "its password was changed", id="password"),
        pytest.param({"user": "other"}, PermissionMissing, "Provisioning.DiskRandomRead", id="user"),
        pytest.param({"snapshot": "snapshot-9"}, SourceFailed, "the snapshot no longer exists", id="snapshot"),
        pytest.param({"vm": "moref=vm-9"}, SourceFailed, "the VM was registered again", id="vm"),
        pytest.param({"root": "/nowhere"}, SourceFailed, "the disk was moved: run with --fresh", id="no-file"),
        pytest.param({"fail": "open:13"}, PermissionMissing, "or the file is locked", id="no-rights"),
        pytest.param({"fail": "open:15"}, Busy, "another backup has the disk open", id="in-use"),
        pytest.param({"fail": "open:16064"}, PermissionMissing, "Global.DisableMethods", id="licence"),
        pytest.param({"fail": "open:14008"}, Unreachable, "NFC port (902)", id="no-server"),
        pytest.param({"fail": "open:14009"}, Unreachable, "NFC port (902)", id="refused"),
        pytest.param({"fail": "open:14011"}, Unreachable, "the connection broke", id="lost"),
        pytest.param({"fail": "connect:18000"}, Unreachable, "must be reachable", id="no-host"),
        pytest.param({"fail": "open:2"}, SourceFailed, "Out of memory", id="any-other"),
        pytest.param({"fail": "open:5"}, OutOfBuffers, "no NFC buffers left", id="nfc-buffers"),
        pytest.param({"config": "other"}, SourceFailed, "VixDiskLib_InitEx", id="library-does-not-start"),
    ],
)
def test_what_vddk_refuses_is_one_sentence_with_a_remedy(
    start_vcenter: Starts, vddk: Vddk, changes: dict[str, str], error: type[Exception], says: str
) -> None:
    lab = start_vcenter(machine(disks=[SPARSE]))
    found, taken = prepared(lab, vddk, **changes)
    with pytest.raises(error) as caught, lab.source(found, taken, transport="vddk", vddk=vddk.options):
        pass
    message = str(caught.value)
    assert says in message
    assert "\n" not in message
    assert message.startswith("disk 2000 ([ds1] pgtest1/pgtest1.vmdk) through 127.0.0.1:")
    assert caught.value.transient is (error in (Busy, Unreachable, OutOfBuffers))  # type: ignore[attr-defined]
    assert PASSWORD not in message


@pytest.mark.parametrize(
    ("said", "buffers"),
    [
        pytest.param(
            "[NFC ERROR] NfcFssrvrProcessErrorMsg: received NFC error 5 from server: Failed to allocate the requested "
            "2097176 bytes",
            True,
            id="as-nbdkits-manual-has-it",
        ),
        pytest.param("VixDiskLib_Open: [ds1] a/a.vmdk: Resource temporarily unavailable", True, id="temporarily"),
        pytest.param("[NFC ERROR] NfcAioProcessCloseSessionMsg: received NFC error 55 from server", False, id="other"),
        pytest.param("VixDiskLib_Open: [ds1] a/a.vmdk: Unknown error", False, id="thumbprint"),
    ],
)
def test_words_for_an_esxi_host_without_buffers(said: str, buffers: bool) -> None:
    stderr = f"nbdkit: vddk[3]: error: {said}\nnbdkit: vddk[3]: error: VixDiskLib_Open: [ds1] a/a.vmdk: Unknown error\n"
    assert transport.out_of_buffers(stderr) is buffers
    failure = transport.failure("disk 2000", stderr, DISK)
    assert isinstance(failure, OutOfBuffers if buffers else NotTrusted)
    assert failure.transient is buffers


def connected(source: Source) -> NbdEndpoint:
    """Once the library has closed the disk that the handshake opened."""
    ends: list[NbdEndpoint] = []

    def connects() -> bool:
        try:
            ends.append(NbdEndpoint(source.uris, "source"))
        except ConnectFailed:
            return False
        return True

    assert eventually(connects)
    return ends[0]


@pytest.mark.behaviour(32, "reported")
def test_an_esxi_host_without_buffers_gets_fewer_disks_at_once(start_vcenter: Starts, vddk: Vddk) -> None:
    lab = start_vcenter(machine(disks=[SPARSE, OTHER]))
    found, taken = prepared(lab, vddk, nfc="1")
    with (
        lab.source(found, taken, 2000, vddk=vddk.options) as opened,
        connected(opened.source),
        pytest.raises(OutOfBuffers),
        lab.source(found, taken, 2001, vddk=vddk.options),
    ):
        pass
    assert open_disks(lab).limit(ESXI) == 1
    with lab.source(found, taken, 2001, vddk=vddk.options) as opened:
        assert opened.source.disk_key == 2001


@pytest.mark.parametrize(
    ("fail", "says", "limit"),
    [
        pytest.param("read:14011", "The connection was lost", 12, id="lost"),
        pytest.param("read:5", "no NFC buffers left", 1, id="nfc-buffers"),
    ],
)
def test_why_a_read_failed_is_said_when_the_source_closes(
    start_vcenter: Starts, vddk: Vddk, fail: str, says: str, limit: int
) -> None:
    lab = start_vcenter(machine(disks=[OTHER]))
    found, taken = prepared(lab, vddk, fail=fail)
    with lab.source(found, taken, 2001, vddk=vddk.options) as opened:
        read = subprocess.run(["nbdcopy", opened.source.uris[0], "-"], capture_output=True, timeout=60, check=False)
        assert read.returncode != 0
    assert any(says in warning for warning in lab.warnings), lab.warnings
    assert open_disks(lab).limit(ESXI) == limit


def test_a_read_that_fails_at_the_same_place_of_a_disk_opened_anew_is_the_disks_own(
    start_vcenter: Starts, vddk: Vddk
) -> None:
    lab = start_vcenter(machine(disks=[OTHER]))
    found, taken = prepared(lab, vddk, fail="read:2")
    for transient in (True, False):
        with lab.source(found, taken, 2001, vddk=vddk.options) as opened:
            subprocess.run(["nbdcopy", opened.source.uris[0], "-"], capture_output=True, timeout=60, check=False)
            (explain,) = opened.ctx.explains
            error = explain(RequestFailed(source_name(2001), "read", MiB, MiB, errno.EIO))
        assert "at offset 1048576" in error.message
        assert "Out of memory" in error.message
        assert error.transient is transient


def test_a_connection_that_is_refused_for_want_of_buffers_says_so(start_vcenter: Starts, vddk: Vddk) -> None:
    lab = start_vcenter(machine(disks=[OTHER]))
    found, taken = prepared(lab, vddk, nfc="1")
    with lab.source(found, taken, 2001, vddk=vddk.options) as opened, connected(opened.source):
        with pytest.raises(ConnectFailed) as refused:
            NbdEndpoint(opened.source.uris, source_name(2001))
        (explain,) = opened.ctx.explains
        error = explain(refused.value)
    assert isinstance(error, OutOfBuffers)
    assert "no NBD handshake with source of disk 2001" in error.message
    assert error.transient


def test_a_size_other_than_the_disks_is_refused(start_vcenter: Starts, vddk: Vddk) -> None:
    lab = start_vcenter(machine(disks=[OTHER]))
    found, taken = prepared(lab, vddk)
    size = {"capacity": found.disks[0].capacity + 512}
    larger = found.model_copy(update={"disks": (found.disks[0].model_copy(update=size),)})
    frozen = taken.model_copy(update={"disks": (taken.disks[0].model_copy(update=size),)})
    with pytest.raises(WrongDisk), lab.source(larger, frozen, 2001, vddk=vddk.options):
        pass


def without(what: str, vddk: Vddk, tmp_path: Path) -> dict[str, Any]:
    match what:
        case "plugin":
            return {**vddk.options, "plugin": str(tmp_path / "no-plugin.so")}
        case "library":
            (tmp_path / "empty").mkdir()
            return {**vddk.options, "libdir": str(tmp_path / "empty")}
        case _:
            return {**vddk.options, "libdir": str(tmp_path / "nowhere")}


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        pytest.param("plugin", "has no plugin {tmp}/no-plugin.so: install it (nbdkit-plugin-vddk", id="plugin"),
        pytest.param("library", "VDDK library is not in {tmp}/empty on host local", id="library"),
        pytest.param("directory", "there is no directory {tmp}/nowhere on host local", id="directory"),
    ],
)
def test_what_vddk_lacks_is_said_and_auto_goes_on_without_it(
    start_vcenter: Starts, vddk: Vddk, tmp_path: Path, missing: str, says: str
) -> None:
    lab = start_vcenter(machine(disks=[OTHER, disk(2002, 2, datastore="vsan1")]))
    found, taken = prepared(lab, vddk)
    options = without(missing, vddk, tmp_path)
    says = says.format(tmp=tmp_path)
    with pytest.raises(NoTransport) as caught, lab.source(found, taken, 2001, transport="vddk", vddk=options):
        pass
    assert "cannot be read with VDDK: " in str(caught.value)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    with lab.source(found, taken, 2001, connections=1, vddk=options) as opened:
        assert opened.source.transport == "https"
        assert opened.source.why.startswith("its file is a flat base file, and there is no VDDK: ")
        assert says.partition(":")[0] in opened.source.why
    with pytest.raises(NoTransport) as both, lab.source(found, taken, 2002, vddk=options):
        pass
    assert "over HTTPS: " in str(both.value)
    assert "nor with VDDK: " in str(both.value)
    assert says in str(both.value)


def test_a_plan_with_a_snapshot_says_the_transport_and_why(start_vcenter: Starts, vddk: Vddk) -> None:
    lab = start_vcenter(machine(disks=[OTHER]))
    found, taken = prepared(lab, vddk)
    inputs = OpenSourceIn.from_json_value(
        {"snapshot": taken.to_json_value(), "disk": found.disks[0].to_json_value(), "vddk": vddk.options}
    )
    assert OpenSource().preflight(lab.context(), Known(inputs=inputs)).notes == ("over vddk: VDDK 8 is on host local",)


def test_vddk_on_another_host_reaches_us_through_ssh(start_vcenter: Starts, vddk: Vddk, ssh_host: Host) -> None:
    lab = start_vcenter(machine(disks=[OTHER]))
    lab.host = ssh_host
    found, taken = prepared(lab, vddk)
    with lab.source(found, taken, 2001, vddk=vddk.options) as opened:
        assert len(opened.ctx.children) == 2  # nbdkit there, one forward here
        assert read_all(opened.source.uris[0]) == lab.simulator.disk_file("pgtest1", 2001).read_bytes()
        directory = opened.ctx.children[0].argv[4].partition("=")[2].rpartition("/")[0]
        assert ssh_host.exists(f"{directory}/vddk.conf")
        assert not ssh_host.exists(f"{directory}/password")
    assert not ssh_host.exists(directory)


@pytest.fixture(params=["local", "ssh"])
def node(request: pytest.FixtureRequest) -> Host:
    return LocalHost() if request.param == "local" else request.getfixturevalue("ssh_host")


def seen(lab: Lab, node: Host, **options: Any) -> list[tuple[str, str]]:
    """State of what is looked at of the network, and what is said of it."""
    found = reachability.examine_vddk(lab.context(), node, lab.client, lab.discover().vm.moref, VddkOptions(**options))
    return [(one.state, one.sentence) for one in found]


def test_the_ways_of_the_host_that_reads_are_tried_beforehand(start_vcenter: Starts, node: Host) -> None:
    lab = start_vcenter()
    (vcenter, (state, said)) = seen(lab, node, nfc_host_port=1)
    assert vcenter == ("good", f"127.0.0.1:{lab.simulator.port} can be reached")
    assert state == "noted"
    assert f"port 1 of ESXi host {ESXI} cannot be reached from host {node.name}" in said
    assert "unless ESXi has an address for backups" in said


def test_what_reads_datastores_by_itself_needs_no_nfc_port(start_vcenter: Starts) -> None:
    assert len(seen(start_vcenter(), LocalHost(), transports=("san",))) == 1


def test_a_host_that_cannot_reach_the_vcenter_is_told_so(start_vcenter: Starts, node: Host) -> None:
    lab = start_vcenter()
    client, moref = lab.client, lab.discover().vm.moref
    client.vcenter = lab.vcenter(port=1)
    (first, *_) = reachability.examine_vddk(lab.context(), node, client, moref, VddkOptions())
    assert first.state == "wrong"
    assert f"127.0.0.1:1 cannot be reached from host {node.name}" in first.found
    client.vcenter = lab.section
