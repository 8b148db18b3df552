"""Sessions, TLS and faults, against the simulator over real TLS."""

from __future__ import annotations

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from runner.base.errors import SendenseError, UsageError
from steps.lab.simulator import Simulator
from steps.vsphere import machine, snapshots
from steps.vsphere.checks import certificate as certificate_of
from steps.vsphere.client import Client, vcenter
from steps.vsphere.errors import (
    Busy,
    Gone,
    LoginRefused,
    NotReached,
    NotTrusted,
    PermissionMissing,
    SnapshotRefused,
    Unreachable,
)
from steps.vsphere.find import find
from steps.vsphere.names import DatastoreFile
from steps.vsphere.section import VCenter
from tests.eventually import eventually
from tests.vcenter import PASSWORD, USER, Starts, inventory, vcenters
from tests.vcenter import machine as vm

start_vcenter = vcenters


def test_a_wrong_password_is_one_sentence_that_does_not_hold_it(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    (lab.scratch / "password").write_text("hunter2!")
    with pytest.raises(LoginRefused) as caught, Client("prod", lab.section):
        pass
    assert str(caught.value).startswith(f"logging in at vCenter 127.0.0.1:{lab.simulator.port} as backup@vsphere.local")
    assert "wrong user name or password" in str(caught.value)
    assert "hunter2" not in repr(caught.value)
    assert not caught.value.transient


def test_a_certificate_of_another_authority_is_refused(start_vcenter: Starts) -> None:
    lab, stranger = start_vcenter(), start_vcenter()
    section = lab.vcenter(tls={"ca": str(stranger.simulator.ca_path)})
    with pytest.raises(NotTrusted, match="cannot be verified"), Client("prod", section):
        pass
    assert lab.simulator.calls["Login"] == 0


def test_what_stands_about_the_certificates_of_an_authority_may_be_in_any_encoding(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    named = lab.scratch / "named.pem"
    named.write_bytes("# M\u00fcller CA\n".encode("latin-1") + lab.simulator.ca_path.read_bytes())
    with Client("prod", lab.vcenter(tls={"ca": str(named)})) as client:
        assert client.version


def test_a_pinned_thumbprint_is_accepted_with_or_without_colons(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    for written in (lab.simulator.thumbprint, lab.simulator.thumbprint.replace(":", "").lower()):
        with Client("prod", lab.vcenter(tls={"thumbprint": written})) as client:
            assert client.trust().pinned
            assert client.version.startswith("VMware vCenter Server 8.0.3")


def test_another_thumbprint_is_refused_before_the_login_and_both_are_shown(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    wrong = "AB:" * 31 + "CD"
    with pytest.raises(NotTrusted) as caught, Client("prod", lab.vcenter(tls={"thumbprint": wrong})):
        pass
    assert wrong in str(caught.value)
    assert lab.simulator.thumbprint in str(caught.value)
    assert lab.simulator.calls["Login"] == 0


def test_of_two_pinned_thumbprints_either_is_accepted_also_while_a_run_works(
    start_vcenter: Starts, tmp_path: Path
) -> None:
    lab = start_vcenter()
    old = lab.simulator.thumbprint
    with Client("prod", lab.vcenter(tls={"thumbprint": [old, "AB:" * 31 + "CD"]})) as client:
        lab.simulator.stop()
        options: dict[str, Any] = {"username": USER, "password": PASSWORD, "port": lab.section.port}
        with Simulator(inventory(vm()), tmp_path / "again", **options) as renewed:
            # It makes its certificate as it starts, so that nobody can pin it before.
            client.vcenter = lab.vcenter(tls={"thumbprint": [old, renewed.thumbprint]})
            assert find(client, "pgtest1")
            assert client.trust().pem == ssl.get_server_certificate(("127.0.0.1", lab.section.port))


def test_neither_of_two_pinned_thumbprints_is_refused_and_all_are_shown(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    pins = ["AB:" * 31 + "CD", "AB:" * 31 + "EF"]
    with pytest.raises(NotTrusted) as caught, Client("prod", lab.vcenter(tls={"thumbprint": pins})):
        pass
    assert " or ".join(pins) in str(caught.value)


def test_a_pinned_certificate_that_has_expired_is_refused_with_the_date(start_vcenter: Starts) -> None:
    lab = start_vcenter(simulator={"certificate_valid": timedelta(days=-1)})
    with pytest.raises(NotTrusted) as caught, Client("prod", lab.vcenter(tls={"thumbprint": lab.simulator.thumbprint})):
        pass
    ended = datetime.now(UTC) - timedelta(days=1)
    assert f"that the job pins has expired on {ended:%Y-%m-%d}: renew it in vCenter" in str(caught.value)
    assert lab.simulator.calls["Login"] == 0


@pytest.mark.parametrize("tls", ["ca", "thumbprint"])
def test_the_end_of_a_certificate_is_told_a_month_ahead_by_doctor_and_run(start_vcenter: Starts, tls: str) -> None:
    for days, warned in ((29, True), (32, False)):
        lab = start_vcenter(simulator={"certificate_valid": timedelta(days=days)})
        lab.section = lab.vcenter(**({"tls": {"thumbprint": lab.simulator.thumbprint}} if tls == "thumbprint" else {}))
        found = certificate_of(lab.context(), "prod")
        assert (found.state, "days" in found.found) == (("noted", True) if warned else ("good", False))
        lab.discover()
        assert any("expires on" in warning for warning in lab.warnings) is warned


def test_verification_holds_for_localhost_too(start_vcenter: Starts, tmp_path: Path) -> None:
    lab = start_vcenter()
    empty = tmp_path / "empty.pem"
    empty.write_text("no certificate")
    with pytest.raises(UsageError, match=r"the CA file .*empty\.pem cannot be used"):
        Client("prod", lab.vcenter(server="localhost", tls={"ca": str(empty)})).__enter__()
    with Client("prod", lab.vcenter(server="localhost")) as client:
        assert client.uuid


@pytest.mark.parametrize(
    ("tls", "says"),
    [
        pytest.param({"thumbprint": "ab" * 20}, "that is a SHA-1 thumbprint", id="sha-1"),
        pytest.param({"thumbprint": "ab" * 30}, "this has 60", id="short"),
        pytest.param({"thumbprint": "zz" * 32}, "hexadecimal", id="not-hex"),
        pytest.param({"insecure": True}, "insecure", id="insecure"),
        pytest.param({}, "Field required", id="nothing"),
    ],
)
def test_tls_must_be_a_ca_or_a_sha256_thumbprint(tls: dict[str, object], says: str) -> None:
    content = {"server": "vc", "username": "u", "password": {"env": "P"}, "tls": tls}
    with pytest.raises(ValidationError, match=says):
        VCenter.from_json_value(content)


@pytest.mark.parametrize(
    "server", ["https://vc", "vc:443", "vc/sdk", "user@vc", "-o", "", "vc example"], ids=lambda server: f"<{server}>"
)
def test_a_server_is_a_name_or_an_address_alone(server: str) -> None:
    content = {"server": server, "username": "u", "password": {"env": "P"}, "tls": {"ca": "ca.pem"}}
    with pytest.raises(ValidationError, match="host name or IP address alone"):
        VCenter.from_json_value(content)


def test_nobody_listening_is_transient_and_names_the_server(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        port = taken.getsockname()[1]
        with pytest.raises(Unreachable, match=f"127.0.0.1:{port}") as caught, Client("prod", lab.vcenter(port=port)):
            pass
    assert caught.value.transient


def test_a_vcenter_that_no_connection_was_ever_made_to_is_asked_once_and_not_again(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        lab.section = lab.vcenter(port=port)
        with pytest.raises(NotReached, match=f"127.0.0.1:{port} cannot be reached: Connection refused") as caught:
            vcenter(lab.context(), "prod")
        assert not caught.value.transient
        taken.listen()
        taken.settimeout(0.1)
        with pytest.raises(NotReached, match="refused"):
            vcenter(lab.context("another"), "prod")
        with pytest.raises(TimeoutError):
            taken.accept()


@pytest.mark.parametrize(
    ("what", "method"),
    [
        pytest.param("find", "CreateContainerView", id="find"),
        pytest.param("describe", "RetrievePropertiesEx", id="properties"),
        pytest.param("create", "CreateSnapshot_Task", id="create-snapshot"),
        pytest.param("download", "", id="download"),
    ],
)
def test_an_expired_session_is_healed_by_whatever_call_meets_it(start_vcenter: Starts, what: str, method: str) -> None:
    lab = start_vcenter()
    client, simulator = lab.client, lab.simulator
    moref = find(client, "pgtest1")
    simulator.fault("session-expire", method=method)
    match what:
        case "find":
            assert find(client, "pgtest1") == moref
        case "describe":
            assert machine.describe(client, moref).vm.name == "pgtest1"
        case "create":
            snapshots.create(client, moref, "sendense-x", "", quiesce=False)
            assert simulator.snapshots("pgtest1") == ["sendense-x"]
        case "download":
            assert client.download("DC1", DatastoreFile("ds1", "pgtest1/pgtest1.nvram")).startswith(b"MRVN")
    assert simulator.armed == {}
    assert simulator.calls["Login"] == 2


def test_the_session_is_kept_alive_and_renewed_for_who_borrowed_its_cookie(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    seen: list[str] = []
    failures: list[SendenseError] = []
    with Client("prod", lab.section, keepalive=60.0, keepalive_lent=0.05) as client:
        with client.lend_cookie(seen.append, failures.append):
            assert seen == [client.cookie()]
            lab.simulator.fault("session-expire")
            assert eventually(lambda: len(seen) == 2)
            assert seen[1] == client.cookie() != seen[0]
        assert client.renew() is False
        lab.simulator.fault("session-expire")
        assert client.renew() is True
    assert len(seen) == 2
    assert failures == []
    assert seen[0].startswith("vmware_soap_session=")
    assert ";" not in seen[0]


def test_a_borrower_that_cannot_take_the_new_cookie_does_not_fail_the_login(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    failures: list[SendenseError] = []
    taken: list[str] = []

    def take(cookie: str) -> None:
        taken.append(cookie)
        if len(taken) > 1:
            raise Gone("the host is gone")

    with lab.client.lend_cookie(take, failures.append):
        lab.simulator.fault("session-expire")
        assert lab.client.renew()
    assert [str(failure) for failure in failures] == ["the host is gone"]


def test_threads_that_meet_one_expired_session_log_in_once(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    client = lab.client
    moref = find(client, "pgtest1")
    lab.simulator.fault("session-expire")
    names: list[str] = []
    threads = [threading.Thread(target=lambda: names.append(machine.describe(client, moref).vm.name)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert names == ["pgtest1"] * 8
    assert lab.simulator.calls["Login"] == 2


def test_leaving_the_client_logs_out(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    with Client("prod", lab.section):
        pass
    assert lab.simulator.calls["Logout"] == 1


def test_leaving_is_no_error_when_the_vcenter_is_gone(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    with Client("prod", lab.section):
        lab.simulator.stop()


def test_leaving_is_no_error_when_logging_out_is_refused(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    with Client("prod", lab.section):
        lab.simulator.fault("fail-call", method="Logout")
    assert lab.simulator.armed == {}


def test_a_missing_privilege_is_named_with_its_object(start_vcenter: Starts) -> None:
    lab = start_vcenter(denied=["VirtualMachine.State.CreateSnapshot"])
    moref = find(lab.client, "pgtest1")
    with pytest.raises(PermissionMissing) as caught:
        snapshots.create(lab.client, moref, "sendense-x", "", quiesce=False)
    assert caught.value.privilege == "VirtualMachine.State.CreateSnapshot"
    assert f"on VirtualMachine {moref}: add it to the account's role there" in str(caught.value)


def test_a_property_that_may_not_be_read_is_a_missing_privilege(start_vcenter: Starts) -> None:
    lab = start_vcenter(vm(unreadable=["config"]))
    with pytest.raises(PermissionMissing, match="reading the configuration of VM vm-"):
        machine.describe(lab.client, find(lab.client, "pgtest1"))


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        pytest.param("TooManySnapshotLevels", SnapshotRefused, "the most snapshots that vSphere allows", id="too-deep"),
        pytest.param("SnapshotDisabled", SnapshotRefused, "allow them in vSphere", id="disabled"),
        pytest.param("SnapshotLocked", SnapshotRefused, "unlock them", id="locked"),
        pytest.param("NotSupported", SnapshotRefused, "a template, fault tolerance", id="not-supported"),
        pytest.param("MultipleSnapshotsNotSupported", SnapshotRefused, "one snapshot only", id="multiple"),
        pytest.param("SnapshotIncompatibleDeviceInVm", SnapshotRefused, "shared bus", id="device"),
        pytest.param("RequestCanceled", SendenseError, "cancelled the task in vSphere", id="cancelled"),
        pytest.param("HostCommunication", Unreachable, "cannot reach the VM's host", id="host"),
        pytest.param("SystemError", SendenseError, "creating the snapshot sendense-x failed", id="other"),
    ],
)
def test_faults_of_calls_and_of_tasks_are_sentences(
    start_vcenter: Starts, fault: str, error: type[SendenseError], says: str
) -> None:
    lab = start_vcenter()
    moref = find(lab.client, "pgtest1")
    for kind in ("fail-call", "fail-task"):
        lab.simulator.fault(kind, method="CreateSnapshot_Task", fault=fault)
        with pytest.raises(error, match=says) as caught:
            snapshots.create(lab.client, moref, "sendense-x", "", quiesce=False)
        assert str(caught.value).startswith("creating the snapshot sendense-x failed")
        assert "\n" not in str(caught.value)


def test_a_vm_that_another_task_holds_is_busy(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    moref = find(lab.client, "pgtest1")
    lab.simulator.fault("slow-task", seconds=1.5)
    making = threading.Thread(target=snapshots.create, args=(lab.client, moref, "x", ""), kwargs={"quiesce": False})
    making.start()
    assert eventually(lambda: not lab.simulator.armed)
    with pytest.raises(Busy, match="another task of the VM is still running") as caught:
        snapshots.create(lab.client, moref, "sendense-x", "", quiesce=False)
    assert caught.value.transient
    making.join(30)


def test_a_full_datastore_is_named(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    lab.simulator.fault("no-space")
    with pytest.raises(SnapshotRefused, match="datastore ds1 has no space left: free some"):
        snapshots.create(lab.client, find(lab.client, "pgtest1"), "sendense-x", "", quiesce=False)


def test_a_call_on_a_vm_that_is_gone_says_so(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    with pytest.raises(Gone, match="VirtualMachine vm-9999 no longer exists"):
        machine.describe(lab.client, "vm-9999")


def test_the_secret_shows_up_nowhere_in_the_client(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    assert PASSWORD not in repr(vars(lab.client))


def test_a_file_that_is_not_there_and_one_that_is_refused_are_told_apart(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    with pytest.raises(Gone, match="there is no such file"):
        lab.client.download("DC1", DatastoreFile("ds1", "pgtest1/missing.nvram"))
    lab.simulator.fault("http-401", count=2)
    with pytest.raises(PermissionMissing, match=r"Datastore\.Browse"):
        lab.client.download("DC1", DatastoreFile("ds1", "pgtest1/pgtest1.nvram"))


def test_a_download_that_the_server_fails_is_made_again(start_vcenter: Starts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steps.vsphere.client.FIRST_PAUSE", 0.01)
    lab = start_vcenter()
    lab.simulator.fault("http-503", count=2)
    assert len(lab.client.download("DC1", DatastoreFile("ds1", "pgtest1/pgtest1.nvram"))) == 8684
    assert lab.simulator.armed == {}


def test_nothing_is_printed(start_vcenter: Starts, capfd: pytest.CaptureFixture[str]) -> None:
    lab = start_vcenter()
    machine.describe(lab.client, find(lab.client, "pgtest1"))
    assert capfd.readouterr() == ("", "")
