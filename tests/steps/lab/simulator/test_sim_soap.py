"""The wire: envelopes of other clients, faults, chunked bodies, what is not SOAP."""

from __future__ import annotations

import copy
import copyreg
import http.client
import threading
import time

import pytest
from pyVmomi import vim, vmodl

from runner.base.errors import UsageError
from steps.lab.simulator import Simulator
from steps.lab.simulator.vmodl import fault
from tests.simulation import estate

ENVELOPE = (
    '<?xml version="1.0"?><e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"'
    ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><e:Body>{}</e:Body></e:Envelope>'
)
CONTENT = '<RetrieveServiceContent xmlns="urn:vim25"><_this type="ServiceInstance">ServiceInstance</_this></RetrieveServiceContent>'


def post(client, body, **headers):
    connection = http.client.HTTPSConnection("127.0.0.1", client.sim.port, context=client.context, timeout=10)
    try:
        connection.request("POST", "/sdk", body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_a_plain_envelope_is_understood(client):
    status, text = post(client, ENVELOPE.format(CONTENT), SOAPAction='"urn:vim25/6.0"')
    assert status == 200
    assert '<rootFolder type="Folder">group-d1</rootFolder>' in text


def test_a_chunked_body_is_understood(client):
    body = ENVELOPE.format(CONTENT).encode()
    status, _ = post(client, (body[start : start + 100] for start in range(0, len(body), 100)))
    assert status == 200


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param("no xml", "Cannot deserialize", id="no xml"),
        pytest.param(
            ENVELOPE.format('<Dance xmlns="urn:vim25"/>'), "Unable to resolve WSDL method name Dance", id="method"
        ),
        pytest.param(ENVELOPE.format(""), "no method", id="empty body"),
        pytest.param(ENVELOPE.format('<CurrentTime xmlns="urn:vim25"/>'), "_this", id="no this"),
        pytest.param(
            ENVELOPE.format(CONTENT.replace("</_this>", "</_this><more>1</more>")), "Cannot deserialize", id="argument"
        ),
    ],
)
def test_a_bad_request_is_a_fault(client, body, said):
    status, text = post(client, body)
    assert (status, said in text, 'xsi:type="InvalidRequest"' in text) == (500, True, True)


def test_a_fault_has_its_wire_form(client):
    call = '<CurrentTime xmlns="urn:vim25"><_this type="ServiceInstance">ServiceInstance</_this></CurrentTime>'
    status, text = post(client, ENVELOPE.format(call))
    assert status == 500
    assert "<faultcode>ServerFaultCode</faultcode><faultstring>The session is not authenticated.</faultstring>" in text
    assert "<NotAuthenticatedFault" in text
    assert 'xsi:type="NotAuthenticated"' in text
    assert '<object type="Folder">group-d1</object><privilegeId>System.View</privilegeId>' in text


def test_a_reference_that_may_be_anything_says_that_it_is_one(client):
    """govmomi takes any other name for an empty reference, and vCenter sends this one."""
    key = client.service.content.sessionManager.currentSession.key  # logs in
    assert key
    body = (
        '<RetrieveProperties xmlns="urn:vim25"><_this type="PropertyCollector">propertyCollector</_this><specSet>'
        "<propSet><type>VirtualMachine</type><pathSet>resourcePool</pathSet><pathSet>datastore</pathSet></propSet>"
        f'<objectSet><obj type="VirtualMachine">{client.vm()._moId}</obj></objectSet></specSet></RetrieveProperties>'
    )
    status, text = post(client, ENVELOPE.format(body), Cookie=client.content.searchIndex._stub.cookie)
    assert status == 200
    assert 'xsi:type="ManagedObject"' not in text
    assert '<val type="ResourcePool" xsi:type="ManagedObjectReference">' in text or (
        '<val xsi:type="ManagedObjectReference" type="ResourcePool">' in text
    )
    assert 'xsi:type="ArrayOfManagedObjectReference"><ManagedObjectReference type="Datastore">' in text


def test_an_operation_it_does_not_have_says_so(client):
    with pytest.raises(vmodl.fault.MethodNotFound) as caught:
        client.vm().MarkAsTemplate()
    assert caught.value.method == "MarkAsTemplate"


def test_any_fault_of_the_api_on_demand(client):
    vm = client.vm()
    client.sim.fault("fail-call", method="CreateSnapshot_Task", fault="TaskInProgress")
    with pytest.raises(vim.fault.TaskInProgress):
        vm.CreateSnapshot_Task("x", "", False, False)


def test_names_with_markup_travel(client):
    vm = client.vm()
    client.snapshot(vm, "<&> \u00e9 \U0001f600")
    assert vm.snapshot.rootSnapshotList[0].name == "<&> \u00e9 \U0001f600"


def test_calls_are_quick(client):
    """Nagle's algorithm would cost 44 ms each."""
    service = client.service
    started = time.monotonic()
    for _ in range(50):
        service.CurrentTime()
    assert time.monotonic() - started < 1.0


def test_calls_are_counted(client):
    client.service.CurrentTime()
    assert client.sim.calls["CurrentTime"] == 1


def test_a_port_in_use_is_a_sentence(client, tmp_path):
    busy = client.sim.port
    with pytest.raises(UsageError, match=f"port {busy} of 127.0.0.1 cannot be used: Address already in use"):
        Simulator(estate(), tmp_path / "second", username="u", password="p", port=busy)


def test_stopping_ends_connections_and_waiting_calls(simulate):
    client = simulate()
    collector = client.content.propertyCollector
    ended: list = []

    def wait():
        try:
            collector.WaitForUpdatesEx("", vmodl.query.PropertyCollector.WaitOptions(maxWaitSeconds=60))
        except (vmodl.MethodFault, OSError, http.client.HTTPException) as error:
            ended.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    client.await_calls("WaitForUpdatesEx", 1)
    started = time.monotonic()
    client.sim.stop()
    thread.join(10)
    assert ended
    assert time.monotonic() - started < 5


def test_faults_are_sent_though_another_library_says_how_exceptions_are_copied():
    """As tblib does once Dask is imported: for this class, what copy.copy would take in place of its own way."""
    refused = fault(vim.fault.NoPermission, "no", privilegeId="System.Read")
    copyreg.pickle(type(refused), lambda _: (_not_copied, ()))
    try:
        copied = copy.copy(refused)
    finally:
        del copyreg.dispatch_table[type(refused)]
    assert (type(copied), copied.privilegeId) == (type(refused), "System.Read")


def _not_copied() -> None:
    raise AssertionError("copied by its pickle")
