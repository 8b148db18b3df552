"""Logins, cookies, idle sessions, privileges."""

from __future__ import annotations

import hashlib
import socket
import ssl
import time

import pytest
from pyVim.connect import SmartConnect
from pyVmomi import SoapStubAdapter, vim, vmodl

from tests.simulation import FLAT, PASSWORD, USER, machine


def connect(client, password=PASSWORD):
    return SmartConnect(host="127.0.0.1", port=client.sim.port, user=USER, pwd=password, sslContext=client.context)


@pytest.mark.behaviour(1, "documented")
@pytest.mark.behaviour(1, "reported")
def test_a_wrong_password_is_an_invalid_login(client):
    with pytest.raises(vim.fault.InvalidLogin) as caught:
        connect(client, "guess")
    assert caught.value.msg == "Cannot complete login due to an incorrect user name or password."


def test_the_fault_invalid_login_hits_once(client):
    client.sim.fault("invalid-login")
    with pytest.raises(vim.fault.InvalidLogin):
        connect(client)
    assert connect(client).CurrentTime()


def test_the_service_instance_is_read_without_a_session(client):
    service = connect(client)
    content = service.RetrieveContent()
    content.sessionManager.Logout()
    assert service.RetrieveContent().about.instanceUuid == content.about.instanceUuid
    assert service.content.about.apiType == "VirtualCenter"


@pytest.mark.behaviour(2, "reported")
@pytest.mark.parametrize(
    "read",
    [
        pytest.param(lambda content, vm: vm.name, id="property"),
        pytest.param(lambda content, vm: content.searchIndex.FindByInventoryPath("DC1"), id="search"),
        pytest.param(lambda content, vm: vm.CreateSnapshot_Task("x", "", False, False), id="task"),
        pytest.param(
            lambda content, vm: content.propertyCollector.RetrieveProperties(
                [
                    vmodl.query.PropertyCollector.FilterSpec(
                        objectSet=[vmodl.query.PropertyCollector.ObjectSpec(obj=vm)],
                        propSet=[vmodl.query.PropertyCollector.PropertySpec(type=vim.VirtualMachine, pathSet=["name"])],
                    )
                ]
            ),
            id="collector",
        ),
    ],
)
def test_without_a_session_calls_are_not_authenticated(client, read):
    vm = client.vm()
    client.sim.fault("session-expire")
    with pytest.raises(vim.fault.NotAuthenticated) as caught:
        read(client.content, vm)
    assert caught.value.msg == "The session is not authenticated."
    assert (caught.value.object._moId, caught.value.privilegeId) == ("group-d1", "System.View")


def test_session_expire_can_wait_for_a_method(client):
    vm = client.vm()
    client.sim.fault("session-expire", method="CreateSnapshot_Task")
    assert vm.name == "db"
    with pytest.raises(vim.fault.NotAuthenticated):
        vm.CreateSnapshot_Task("x", "", False, False)


@pytest.mark.behaviour(3, "reported")
def test_an_idle_session_expires_with_its_cookie(simulate):
    clock = [0.0]
    client = simulate(machine(powered_on=False), options={"idle": 1800.0, "clock": lambda: clock[0]})
    service = connect(client)
    cookie = service._stub.cookie.split(";")[0]
    for clock[0] in (1500.0, 3000.0, 4500.0):  # used again and again it lives on beyond its limit
        assert service.CurrentTime()
    assert client.http(FLAT, "HEAD", login=False, Cookie=cookie)[0] == 200
    clock[0] += 1801.0
    assert client.http(FLAT, "HEAD", login=False, Cookie=cookie)[0] == 401
    with pytest.raises(vim.fault.NotAuthenticated):
        service.CurrentTime()


def test_logout_ends_the_session(client):
    manager = client.content.sessionManager
    session = manager.currentSession
    assert (session.userName, manager.SessionIsActive(session.key, USER)) == (USER, True)
    manager.Logout()
    with pytest.raises(vim.fault.NotAuthenticated):
        client.content.rootFolder.childEntity  # noqa: B018  (reading it is the call)


@pytest.mark.behaviour(4, "documented")
def test_a_privilege_denied_by_the_inventory_is_refused_and_named(simulate):
    client = simulate(denied=["VirtualMachine.State.CreateSnapshot"])
    vm = client.vm()
    with pytest.raises(vim.fault.NoPermission) as caught:
        vm.CreateSnapshot_Task("x", "", False, False)
    assert (caught.value.privilegeId, caught.value.object) == ("VirtualMachine.State.CreateSnapshot", vm)
    (missing,) = caught.value.missingPrivileges
    assert (missing.entity, missing.privilegeIds) == (vm, ["VirtualMachine.State.CreateSnapshot"])
    asked = ["VirtualMachine.State.CreateSnapshot", "VirtualMachine.State.RemoveSnapshot"]
    found = client.content.authorizationManager.HasPrivilegeOnEntities(
        [vm], client.content.sessionManager.currentSession.key, asked
    )
    assert {one.privId: one.isGranted for one in found[0].privAvailability} == dict(
        zip(asked, [False, True], strict=True)
    )


@pytest.mark.behaviour(4, "documented")
def test_change_tracking_needs_its_own_privilege(simulate):
    client = simulate(denied=["VirtualMachine.Config.ChangeTracking"])
    with pytest.raises(vim.fault.NoPermission) as caught:
        client.track(client.vm())
    assert caught.value.privilegeId == "VirtualMachine.Config.ChangeTracking"


def test_a_session_is_cloned_once_by_its_ticket(client):
    ticket = client.content.sessionManager.AcquireCloneTicket()
    fresh = vim.ServiceInstance(
        "ServiceInstance", SoapStubAdapter("127.0.0.1", client.sim.port, sslContext=client.context)
    )
    manager = fresh.RetrieveContent().sessionManager
    assert manager.CloneSession(ticket).userName == USER
    assert fresh.CurrentTime()
    with pytest.raises(vim.fault.InvalidLogin):
        manager.CloneSession(ticket)


def test_a_clone_ticket_dies_with_its_session(client):
    manager = client.content.sessionManager
    ticket = manager.AcquireCloneTicket()
    manager.Logout()
    with pytest.raises(vim.fault.InvalidLogin):
        manager.CloneSession(ticket)


@pytest.mark.behaviour(30, "documented")
def test_a_service_ticket_is_for_one_request_of_its_method_and_url(simulate):
    client = simulate(machine(powered_on=False))
    manager, target = client.content.sessionManager, "/folder/db/db-flat.vmdk?dsName=ds1"

    def ticket(url=f"https://esxi.example{target}"):
        spec = vim.SessionManager.HttpServiceRequestSpec(method="httpGet", url=url)
        return f"vmware_cgi_ticket={manager.AcquireGenericServiceTicket(spec).id}"

    cookie = ticket()
    assert client.http(target, login=False, Cookie=cookie)[2] == client.sim.disk_file("db", 2000).read_bytes()
    assert client.http(target, login=False, Cookie=cookie)[0] == 401
    assert client.http(target, "HEAD", login=False, Cookie=ticket())[0] == 401
    assert client.http(FLAT, login=False, Cookie=ticket())[0] == 401
    with pytest.raises(vmodl.fault.InvalidArgument) as caught:
        ticket("ftp://esxi.example/folder")
    assert caught.value.invalidProperty == "url"


def test_the_certificate_is_verified_for_both_names_and_matches_the_thumbprint(client):
    for name in ("127.0.0.1", "localhost"):
        with (
            socket.create_connection(("127.0.0.1", client.sim.port), timeout=5) as plain,
            client.context.wrap_socket(plain, server_hostname=name) as secure,
        ):
            der = secure.getpeercert(binary_form=True)
    assert hashlib.sha256(der).hexdigest().upper() == client.sim.thumbprint.replace(":", "")


def test_a_stranger_to_its_authority_does_not_trust_it(client):
    with pytest.raises(ssl.SSLCertVerificationError):
        SmartConnect(
            host="127.0.0.1", port=client.sim.port, user=USER, pwd=PASSWORD, sslContext=ssl.create_default_context()
        )


def test_a_silent_connection_holds_up_nobody(client):
    with socket.create_connection(("127.0.0.1", client.sim.port), timeout=5):
        started = time.monotonic()
        assert connect(client).CurrentTime()
        assert time.monotonic() - started < 5
