"""The open-source step: nbdkit on the simulator's /folder, over TLS, to bytes through NBD."""

from __future__ import annotations

import errno
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from runner.base.errors import SendenseError
from runner.base.units import MiB
from runner.hosts.host import Host
from runner.step.context import Context
from runner.step.preflight import Known
from steps.backup.open_source import NoTransport, OpenSource, OpenSourceIn, WrongDisk
from steps.backup.snapshot import Snapshot
from steps.copy.endpoint import RequestFailed
from steps.nbd import growing_endpoint
from steps.nbd.growing_endpoint import MUCH, SOME, GrowingEndpoint
from steps.source import nbdkit_curl
from steps.source.disk_file import source_name
from steps.values.snapshot import frozen_disk
from steps.vsphere import datastores, privileges
from steps.vsphere.client import Client
from steps.vsphere.errors import NotTrusted, PermissionMissing, Unreachable
from tests.eventually import eventually
from tests.sshd import ssh_host, sshd
from tests.vcenter import Lab, Starts, disk, machine, vcenters

pytestmark = pytest.mark.slow

__all__ = ["ssh_host", "sshd"]

start_vcenter = vcenters

PATTERN = disk(2000, 0, size="3 MiB + 512 B", content={"pattern": 7})
OTHER = disk(2001, 1, size="2 MiB", content={"pattern": 8})
ODD_NAME = "Größe, a:b & 100% #1?"


def read_all(uri: str) -> bytes:
    done = subprocess.run(["nbdcopy", uri, "-"], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def children_of(ctx: Context) -> list[str]:
    return [" ".join(child.argv) for child in ctx.children]


def command_lines() -> list[bytes]:
    lines = []
    for entry in Path("/proc").iterdir():
        try:
            lines.append((entry / "cmdline").read_bytes() + (entry / "environ").read_bytes())
        except (OSError, ValueError):
            continue
    return lines


def test_bytes_read_through_nbd_equal_the_disks_file(start_vcenter: Starts) -> None:
    lab = start_vcenter(machine(disks=[PATTERN, OTHER]))
    found = lab.discover()
    taken = lab.snapshot(found)
    for key in (2000, 2001):
        with lab.source(found, taken, key) as opened:
            source = opened.source
            assert (source.disk_key, source.snapshot, source.transport) == (key, taken.moref, "https")
            assert source.created == taken.created
            assert len(source.uris) == 2
            assert len(opened.ctx.children) == 1
            expected = lab.simulator.disk_file("pgtest1", key).read_bytes()
            assert source.capacity == len(expected)
            assert not source.extents
            for uri in source.uris:
                assert read_all(uri) == expected


BRACKETS = {
    "name": "QA Lab + é",
    "datastores": [
        {"name": "ssd [prod]", "capacity": "1 TiB", "free": "2 GiB"},
        {"name": "a] b++%25", "capacity": "1 TiB"},
    ],
}


def test_disks_on_datastores_with_brackets_in_their_names_are_read_watched_and_saved(start_vcenter: Starts) -> None:
    disks = [{**PATTERN, "datastore": "a] b++%25"}, OTHER]
    lab = start_vcenter(
        machine("a//++b", datastore="ssd [prod]", directory="x] [1] %25+é", disks=disks), datacenter=BRACKETS
    )
    found = lab.discover("a//++b")
    assert [disk.datastore for disk in found.disks] == ["a] b++%25", "ssd [prod]"]
    forecast = Snapshot().preflight(lab.context(), Known(inputs=lab.snapshot_in(found)))
    assert "datastore ssd [prod] has 0.2 % free" in forecast.notes[0]
    taken = lab.snapshot(found)
    assert "ssd [prod] has 0.2 % free" in (
        Snapshot().retained(lab.context(), lab.snapshot_in(found), taken).due() or ""
    )
    for disk_ in found.disks:
        with lab.source(found, taken, disk_.key) as opened:
            assert read_all(opened.source.uris[0]) == lab.simulator.disk_file("a//++b", disk_.key).read_bytes()
        wanted = privileges.on_files(lab.client, taken.vm, taken.datacenter, disk_.datastore)
        assert privileges.require(lab.client, wanted)
    nvram = datastores.file_of(lab.client, taken.vm, taken.nvram or "")
    assert lab.client.download(taken.datacenter, nvram).startswith(b"MRVN")


def test_it_reads_the_moment_of_the_snapshot_while_the_guest_writes(start_vcenter: Starts) -> None:
    lab = start_vcenter(machine(disks=[PATTERN]))
    found = lab.discover()
    before = lab.simulator.read("pgtest1", 2000, 0, 3 * 1024 * 1024 + 512)
    taken = lab.snapshot(found)
    lab.simulator.write("pgtest1", 2000, 0, b"\xff" * 65536)
    with lab.source(found, taken) as opened:
        assert read_all(opened.source.uris[0]) == before


def test_names_that_urls_and_shells_take_apart(start_vcenter: Starts) -> None:
    vm = machine(ODD_NAME, datastore="ds & 1", directory=ODD_NAME, disks=[PATTERN])
    lab = start_vcenter(vm, datacenter={"name": "DC/1 +ü", "folder": "Ost West", "datastores": [{"name": "ds & 1"}]})
    found = lab.discover(ODD_NAME)
    assert found.vm.datacenter == "Ost West/DC%2f1 +ü"
    taken = lab.snapshot(found)
    with lab.source(found, taken, connections=1) as opened:
        assert read_all(opened.source.uris[0]) == lab.simulator.disk_file(ODD_NAME, 2000).read_bytes()


@pytest.mark.parametrize("pinned", [False, True], ids=["ca", "thumbprint"])
def test_tls_is_verified_as_the_job_says(start_vcenter: Starts, pinned: bool) -> None:
    lab = start_vcenter(machine(disks=[PATTERN]))
    if pinned:
        lab.section = lab.vcenter(tls={"thumbprint": lab.simulator.thumbprint})
    found = lab.discover()
    taken = lab.snapshot(found)
    with lab.source(found, taken, connections=1) as opened:
        assert "sslverify" not in children_of(opened.ctx)[0]
        assert read_all(opened.source.uris[0]) == lab.simulator.disk_file("pgtest1", 2000).read_bytes()


def test_the_cookie_and_the_password_are_in_no_command_line_and_no_environment(start_vcenter: Starts) -> None:
    lab = start_vcenter(machine(disks=[PATTERN]))
    found = lab.discover()
    taken = lab.snapshot(found)
    with lab.source(found, taken) as opened:
        read_all(opened.source.uris[0])
        secrets = [lab.client.cookie().partition('"')[2].rstrip('"').encode(), b"correct horse"]
        everything = command_lines()
        assert any(b"cookie-script=" in line for line in everything)
        assert not [line for line in everything for secret in secrets if secret in line]
        assert secrets[0].decode() not in opened.source.model_dump_json()


def test_nothing_is_left_in_tmp_by_the_script_that_reads_the_cookie(start_vcenter: Starts) -> None:
    lab = start_vcenter(machine(disks=[PATTERN]))
    found = lab.discover()
    taken = lab.snapshot(found)
    before = set(Path("/tmp").glob("errors??????"))
    with lab.source(found, taken) as opened:
        read_all(opened.source.uris[0])

    def left() -> set[Path]:
        return set(Path("/tmp").glob("errors??????")) - before

    assert eventually(lambda: not left()), left()


def test_the_cookies_script_removes_what_nbdkit_made_for_its_errors_and_nothing_else(tmp_path: Path) -> None:
    cookie = tmp_path / "it's the cookie"
    cookie.write_text('vmware_soap_session="52"')
    argv = nbdkit_curl.argv(
        "https://vc/folder/x", cookie_file=str(cookie), ca_file="/ca/ca.pem", socket="s", pid_file="p"
    )
    (script,) = [word.partition("=")[2] for word in argv if word.startswith("cookie-script=")]
    for name, kept in (("errorsaB3xyz", False), ("log", True)):
        errors = tmp_path / name
        with errors.open("w") as file:
            done = subprocess.run(("sh", "-c", script), stdout=subprocess.PIPE, stderr=file, timeout=10, check=True)
        assert (done.stdout, errors.exists()) == (b'vmware_soap_session="52"', kept)


def test_the_cookies_file_is_for_us_alone_and_goes_with_the_source(start_vcenter: Starts) -> None:
    lab = start_vcenter(machine(disks=[PATTERN]))
    found = lab.discover()
    taken = lab.snapshot(found)
    with lab.source(found, taken) as opened:
        directory = Path(opened.source.uris[0].partition("socket=")[2]).parent
        assert directory.stat().st_mode & 0o777 == 0o700
        assert (directory / "cookie").stat().st_mode & 0o777 == 0o600
        children = tuple(opened.ctx.children)
        assert OpenSource().probe(opened.ctx, opened.source)
    assert not directory.exists()
    assert all(child.poll() is not None for child in children)


def test_a_dead_nbdkit_is_seen_by_the_probe(start_vcenter: Starts) -> None:
    lab = start_vcenter(machine(disks=[PATTERN]))
    found = lab.discover()
    taken = lab.snapshot(found)
    with lab.source(found, taken) as opened:
        opened.ctx.children[0].stop()
        assert not OpenSource().probe(opened.ctx, opened.source)


def test_a_session_that_ends_in_the_middle_is_renewed_under_the_reader(
    start_vcenter: Starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nbdkit_curl, "COOKIE_RENEW", 1)
    monkeypatch.setattr(nbdkit_curl, "RETRY_DELAY", 1)
    lab = start_vcenter(machine(disks=[PATTERN]))
    lab.share(("vcenter", "prod"), lambda: Client("prod", lab.section, keepalive_lent=0.2))
    found = lab.discover()
    taken = lab.snapshot(found)
    with lab.source(found, taken, connections=1) as opened:
        lab.simulator.fault("session-expire", method="GET")
        assert read_all(opened.source.uris[0]) == lab.simulator.disk_file("pgtest1", 2000).read_bytes()
    assert lab.simulator.armed == {}
    assert lab.simulator.calls["Login"] == 2


@pytest.mark.parametrize(
    ("fault", "parameters"),
    [
        pytest.param("http-503", {"method": "GET"}, id="503"),
        pytest.param("http-cut", {"after": 1000}, id="cut"),
        pytest.param("http-401", {"method": "GET"}, id="401"),
    ],
)
def test_a_read_that_fails_is_made_again(
    start_vcenter: Starts, monkeypatch: pytest.MonkeyPatch, fault: str, parameters: dict[str, Any]
) -> None:
    monkeypatch.setattr(nbdkit_curl, "RETRY_DELAY", 1)
    lab = start_vcenter(machine(disks=[PATTERN]))
    found = lab.discover()
    taken = lab.snapshot(found)
    with lab.source(found, taken, connections=1) as opened:
        lab.simulator.fault(fault, **parameters)
        assert read_all(opened.source.uris[0]) == lab.simulator.disk_file("pgtest1", 2000).read_bytes()
        assert lab.simulator.armed == {}


@pytest.mark.parametrize(
    ("fault", "error", "says", "transient"),
    [
        pytest.param("http-404", nbdkit_curl.SourceFailed, "there is no such file (status 404)", False, id="404"),
        pytest.param("http-503", Unreachable, "the server failed (status 503)", True, id="503"),
        pytest.param(
            "http-401", PermissionMissing, "add Datastore.Browse and Datastore.FileManagement", False, id="401"
        ),
    ],
)
def test_a_file_that_cannot_be_opened_is_one_sentence_at_once(
    start_vcenter: Starts, fault: str, error: type[Exception], says: str, transient: bool
) -> None:
    lab = start_vcenter(machine(disks=[PATTERN]))
    found = lab.discover()
    taken = lab.snapshot(found)
    lab.simulator.fault(fault, count=20)
    began = time.monotonic()
    with pytest.raises(error) as caught, lab.source(found, taken):
        pass
    assert time.monotonic() - began < 20  # not after the retries that a read gets
    message = str(caught.value)
    assert says in message
    assert message.startswith("disk 2000 ([ds1] pgtest1/pgtest1-flat.vmdk) through 127.0.0.1:")
    assert "\n" not in message
    assert caught.value.transient is transient


def io_error(key: int = 2000) -> RequestFailed:
    return RequestFailed(source_name(key), "read", MiB, MiB, errno.EIO)


def explained(ctx: Context, error: SendenseError) -> SendenseError:
    for explain in ctx.explains:
        error = explain(error)
    return error


def read_and_fail(uri: str) -> None:
    done = subprocess.run(["nbdcopy", uri, "null:"], capture_output=True, timeout=60, check=False)
    assert done.returncode != 0


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that fails is made again just once, and soon."""
    monkeypatch.setattr(nbdkit_curl, "RETRIES", 1)
    monkeypatch.setattr(nbdkit_curl, "RETRY_DELAY", 1)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    ("fault", "says", "transient"),
    [
        pytest.param("http-503", "the server failed (status 503)", True, id="503"),
        pytest.param("http-401", "the session had ended (status 401)", True, id="401-and-let-in-again"),
        pytest.param("http-404", "there is no such file (status 404)", False, id="404"),
    ],
)
def test_why_a_read_failed_is_told_by_the_source(start_vcenter: Starts, fault: str, says: str, transient: bool) -> None:
    lab = start_vcenter(machine(disks=[PATTERN]))
    found = lab.discover()
    taken = lab.snapshot(found)
    with lab.source(found, taken, connections=1) as opened:
        lab.simulator.fault(fault, count=50, method="GET")
        read_and_fail(opened.source.uris[0])
        error = explained(opened.ctx, io_error())
        assert says in error.message
        assert "read of 1.0 MiB at offset 1048576" in error.message
        assert error.transient is transient


@pytest.mark.usefixtures("hasty")
def test_an_account_that_is_let_in_no_more_is_permanent(start_vcenter: Starts) -> None:
    lab = start_vcenter(machine(disks=[PATTERN]))
    found = lab.discover()
    taken = lab.snapshot(found)
    with lab.source(found, taken, connections=1) as opened:
        lab.simulator.fault("session-expire", method="GET")
        lab.simulator.fault("invalid-login", count=50)
        read_and_fail(opened.source.uris[0])
        error = explained(opened.ctx, io_error())
        assert "wrong user name or password" in error.message
        assert not error.transient


def test_an_io_error_of_which_nbdkit_says_nothing_is_the_disks_own(start_vcenter: Starts) -> None:
    lab = start_vcenter(machine(disks=[PATTERN]))
    found = lab.discover()
    taken = lab.snapshot(found)
    with lab.source(found, taken, connections=1) as opened:
        error = io_error()
        assert explained(opened.ctx, error) is error
        assert not error.transient


def test_one_refusal_at_the_opening_is_transient_if_the_account_is_let_in(start_vcenter: Starts) -> None:
    lab = start_vcenter(machine(disks=[PATTERN]))
    found = lab.discover()
    taken = lab.snapshot(found)
    lab.simulator.fault("http-401", method="HEAD")
    with pytest.raises(Unreachable, match="session had ended") as caught, lab.source(found, taken, connections=1):
        pass
    assert caught.value.transient


def test_a_refusal_because_the_session_had_just_ended_is_transient() -> None:
    said = (
        "nbdkit: curl[1]: error: problem doing HEAD request to fetch size of URL [https://x/folder]: HTTP response code "
        "said error: The requested URL returned error: 401\n"
    )
    failure = nbdkit_curl.failure("disk 2000", said, session_ended=True)
    assert isinstance(failure, Unreachable)
    assert failure.transient


def test_a_certificate_for_another_name_says_what_to_write() -> None:
    said = (
        "nbdkit: curl[1]: error: problem doing HEAD request to fetch size of URL [https://10.0.0.1/folder/x]: SSL peer "
        "certificate or SSH remote key was not OK: SSL: certificate subject name (vc) does not match target host name "
        "'10.0.0.1'\n"
    )
    failure = nbdkit_curl.failure("disk 2000", said, session_ended=False)
    assert isinstance(failure, NotTrusted)
    assert "does not match target host name '10.0.0.1'" in str(failure)
    assert "write `server:` as in the certificate" in str(failure)


@pytest.mark.parametrize(
    ("stderr", "errors"),
    [
        pytest.param("", [], id="nothing-yet"),
        pytest.param("nbdkit: ", [], id="only-its-name-yet"),
        pytest.param("nbdkit: curl[1]: error: problem do", [], id="half-a-line"),
        pytest.param("nbdkit: curl[1]: error: problem\nnbdkit: ", ["problem"], id="a-line-and-the-next-ones-name"),
        pytest.param("nbdkit: error: unknown parameter\n", ["unknown parameter"], id="before-any-connection"),
        pytest.param("nbdkit: curl[1]: debug: x\n", [], id="no-error"),
        *(
            pytest.param(f"nbdkit: curl[1]: error: problem\nnbdkit: curl[1]: error: {said}\n", ["problem"], id=said)
            for said in (
                *(
                    f"{what}: Broken pipe"
                    for what in ("write reply", "write data", "write error reply", "read request")
                ),
                "write error reply: Bad file descriptor",  # 1.42, where another thread had closed the connection
            )
        ),
        pytest.param(
            "nbdkit: curl[1]: error: problem\nnbdkit: curl[1]: error: aborting sleep because of connection close\n",
            ["problem"],
            id="asleep-before-another-try",
        ),
    ],
)
def test_only_whole_lines_of_nbdkit_are_taken_for_the_cause(stderr: str, errors: list[str]) -> None:
    assert nbdkit_curl.errors_in(stderr) == errors


def test_an_nbdkit_that_cannot_start_is_said_with_its_words(
    start_vcenter: Starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = start_vcenter(machine(disks=[PATTERN]))
    found = lab.discover()
    taken = lab.snapshot(found)
    original = nbdkit_curl.argv
    monkeypatch.setattr(nbdkit_curl, "argv", lambda *args, **more: (*original(*args, **more), "no-such-parameter=1"))
    with pytest.raises(nbdkit_curl.SourceFailed, match="no-such-parameter") as caught, lab.source(found, taken):
        pass
    assert not caught.value.transient


def test_only_the_authorities_of_the_job_are_trusted(start_vcenter: Starts, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = start_vcenter(machine(disks=[PATTERN]))
    found = lab.discover()
    taken = lab.snapshot(found)
    argv = nbdkit_curl.argv

    def talkative(*args: Any, **more: Any) -> tuple[str, ...]:
        program, *rest = argv(*args, **more)
        return (program, "--verbose", "--debug=curl.verbose=1", *rest)

    monkeypatch.setattr(nbdkit_curl, "argv", talkative)
    with lab.source(found, taken) as opened:
        said = "".join(child.stderr() for child in opened.ctx.children)
    read = [line for line in said.splitlines() if "certificates in" in line or "CAfile" in line or "CApath" in line]
    assert read
    assert not [line for line in read if "/sd-" not in line], "it read those of the system too"


@pytest.mark.parametrize("store", ["vsan1", "vvol1"])
def test_a_disk_without_a_flat_file_points_at_vddk(start_vcenter: Starts, store: str) -> None:
    lab = start_vcenter(machine(disks=[disk(datastore=store)]))
    found = lab.discover()
    taken = lab.snapshot(found)
    with pytest.raises(NoTransport, match=r"HTTPS: .*no flat file exists; .*VDDK"), lab.source(found, taken):
        pass


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param({"key": 2005}, "disk 2005 (Hard disk 1) is not in snapshot", id="key"),
        pytest.param({"backing_uuid": "6000C290-0000"}, "was discovered with backing 6000C290-0000", id="backing"),
        pytest.param({"capacity": 512}, "and 512 bytes, snapshot", id="capacity"),
    ],
)
def test_a_disk_that_is_another_one_by_now_is_refused_and_both_are_named(
    start_vcenter: Starts, change: dict[str, Any], says: str
) -> None:
    lab = start_vcenter()
    found = lab.discover()
    taken = lab.snapshot(found)
    with pytest.raises(WrongDisk) as caught:
        frozen_disk(taken, found.disks[0].model_copy(update=change))
    assert says in str(caught.value)
    assert taken.name in str(caught.value)


def test_a_file_of_another_size_than_the_disk_is_refused(start_vcenter: Starts) -> None:
    lab = start_vcenter(machine(disks=[PATTERN]))
    found = lab.discover()
    taken = lab.snapshot(found)
    size = {"capacity": found.disks[0].capacity + 512}
    larger = found.model_copy(update={"disks": (found.disks[0].model_copy(update=size),)})
    frozen = taken.model_copy(update={"disks": (taken.disks[0].model_copy(update=size),)})
    with pytest.raises(WrongDisk, match="the file is not the disk's"), lab.source(larger, frozen):
        pass


@pytest.mark.usefixtures("hasty")
def test_a_vcenter_that_takes_no_more_connections_leaves_the_disk_with_the_one_it_has(
    start_vcenter: Starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what it refused is not blamed for what fails later."""
    monkeypatch.setattr(growing_endpoint, "PAUSE", 0.01)
    lab = start_vcenter(machine(disks=[PATTERN]))
    found = lab.discover()
    with lab.source(found, lab.snapshot(found), connections=4) as opened:
        with GrowingEndpoint(opened.ctx, opened.source.uris, None, "source") as endpoint:
            lab.simulator.fault("http-503", count=growing_endpoint.ATTEMPTS, method="HEAD")
            endpoint.moved(SOME, SOME)
            assert eventually(lambda: lab.warnings)
            assert lab.warnings[0].startswith("the source gets no more connections, which may make it slower: ")
            (channel,) = endpoint.channels
            content, done = memoryview(bytearray(MiB)), list[RequestFailed | None]()
            channel.read(0, content, done.append)
            assert eventually(lambda: channel.advance(channel.wanted()) or done)
            assert done == [None]
            assert content == lab.simulator.disk_file("pgtest1", 2000).read_bytes()[:MiB]
        lab.simulator.fault("http-404", count=50, method="GET")
        read_and_fail(opened.source.uris[0])
        assert "status 404" in str(explained(opened.ctx, io_error()))


def test_a_vcenter_that_is_busy_when_more_connections_are_opened_is_asked_again(
    start_vcenter: Starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growing_endpoint, "PAUSE", 0.01)
    lab = start_vcenter(machine(disks=[PATTERN]))
    found = lab.discover()
    with (
        lab.source(found, lab.snapshot(found), connections=4) as opened,
        GrowingEndpoint(opened.ctx, opened.source.uris, None, "source") as endpoint,
    ):
        lab.simulator.fault("http-503", count=2, method="HEAD")
        endpoint.moved(SOME, SOME)
        assert eventually(lambda: len(endpoint.channels) == 4)
    assert not lab.warnings


def test_how_it_is_read_does_not_make_a_disk_stale() -> None:
    marks = {name: [str(mark) for mark in field.metadata] for name, field in OpenSourceIn.model_fields.items()}
    assert all("<how>" in marks[name] for name in ("host", "transport", "connections"))


def test_a_disk_is_read_on_another_host_and_reaches_us_through_ssh(start_vcenter: Starts, ssh_host: Host) -> None:
    lab: Lab = start_vcenter(machine(disks=[PATTERN]))
    lab.host = ssh_host
    found = lab.discover()
    taken = lab.snapshot(found)
    with lab.source(found, taken) as opened:
        assert len(opened.ctx.children) == 2  # nbdkit there, ssh here
        for uri in opened.source.uris:
            assert read_all(uri) == lab.simulator.disk_file("pgtest1", 2000).read_bytes()
        directory = opened.ctx.children[0].argv[4].partition("=")[2].rpartition("/")[0]
        assert ssh_host.exists(f"{directory}/cookie")
        lab.simulator.fault("session-expire")
        assert lab.client.renew()
        assert ssh_host.read(f"{directory}/cookie").decode() == lab.client.cookie()
    assert not ssh_host.exists(directory)


@pytest.mark.parametrize("cores", [2, 4, 8])
def test_a_disk_of_which_much_is_read_through_ssh_gets_no_more_connections_than_the_job_says(
    start_vcenter: Starts, ssh_host: Host, monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(cores)))
    lab: Lab = start_vcenter(machine(disks=[PATTERN]))
    lab.host = ssh_host
    found = lab.discover()
    with lab.source(found, lab.snapshot(found), connections=4) as opened:
        with GrowingEndpoint(opened.ctx, opened.source.uris, opened.source.wire, "source") as endpoint:
            endpoint.moved(MUCH, MUCH)
            assert eventually(lambda: len(endpoint.channels) == 4)
            endpoint._worker.shutdown()
            assert len(endpoint.channels) == 4
        assert "at most 4 connections" in str(OpenSource().report(opened.source))
