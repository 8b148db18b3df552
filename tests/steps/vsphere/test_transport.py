"""What a vCenter, or whoever stands in its place, may send: bounded in size and time, and said in a sentence."""

from __future__ import annotations

import gzip
import itertools
import threading
from pathlib import Path

import pytest

from runner.base.units import KiB, MiB
from steps.vsphere import cbt, folder, transport
from steps.vsphere.client import Client
from steps.vsphere.errors import VSphereError
from steps.vsphere.faults import explained
from steps.vsphere.names import DatastoreFile
from steps.vsphere.tls import trust
from tests.hostile import Script, Send, server, whole
from tests.vcenter import Starts, disk, machine, vcenters

start_vcenter = vcenters

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n"
ENVELOPE = '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>{}</soapenv:Body></soapenv:Envelope>'


def announced(send: Send) -> None:
    send(HEAD + b"Content-Length: 100000000000\r\n\r\n" + bytes(65536))


def without_end(send: Send) -> None:
    send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        send(b"10000\r\n" + b"x" * 65536 + b"\r\n")


def until_it_hangs_up(send: Send) -> None:
    send(HEAD + b"\r\n")
    while True:
        send(b"x" * 65536)


def slowly(content: bytes) -> Script:
    def script(send: Send) -> None:
        send(content)
        pause = threading.Event()
        for byte in itertools.cycle(b"x"):
            send(bytes([byte]))
            pause.wait(0.02)

    return script


def continues(send: Send) -> None:
    pause = threading.Event()
    while True:
        send(b"HTTP/1.1 100 Continue\r\n\r\n")
        pause.wait(0.01)


def no_number(send: Send) -> None:
    send(HEAD + b"Content-Length: a lot\r\n\r\nabc")


def cut(send: Send) -> None:
    send(HEAD + b"Content-Length: 10\r\n\r\nabc")
    raise ConnectionError


BOMB = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><a>&b;</a>'
WRONG_TYPE = ENVELOPE.format(
    '<RetrieveServiceContentResponse xmlns="urn:vim25"><returnval><capabilities>5</capabilities></returnval>'
    "</RetrieveServiceContentResponse>"
).encode()


@pytest.mark.parametrize(
    ("soap", "says", "transient"),
    [
        pytest.param(announced, "has more than 1.0 MiB, which no answer to this has", False, id="100-gb-announced"),
        pytest.param(without_end, "has more than 1.0 MiB", False, id="chunked-without-end"),
        pytest.param(until_it_hangs_up, "has more than 1.0 MiB", False, id="no-length-without-end"),
        pytest.param(whole(BOMB), "declares a document type, which SOAP forbids", False, id="xml-bomb"),
        pytest.param(whole(BOMB.decode().encode("utf-16")), "declares a document type", False, id="xml-bomb-in-utf-16"),
        pytest.param(
            whole(gzip.compress(bytes(100 * MiB)), headers="Content-Encoding: gzip\r\n"),
            "is compressed",
            False,
            id="gzip-bomb",
        ),
        pytest.param(
            slowly(HEAD + b"Content-Length: 9999\r\n\r\n"), "did not end within 0.5 s", True, id="a-body-byte-by-byte"
        ),
        pytest.param(slowly(HEAD + b"X: "), "did not end within 0.5 s", True, id="a-header-byte-by-byte"),
        pytest.param(continues, "did not end within 0.5 s", True, id="100-continue-for-ever"),
        pytest.param(whole(b"<html><body>hello</body></html>"), "is not one of the vSphere API", True, id="a-page"),
        pytest.param(whole(b"hello"), "does not answer as it should", True, id="a-word"),
        pytest.param(whole(WRONG_TYPE), "is not one of the vSphere API", True, id="another-type"),
        pytest.param(whole(b"", "500 Oops"), "does not answer as it should", True, id="nothing"),
        pytest.param(whole(b"", "503 Service Unavailable"), "503 Service Unavailable", True, id="503"),
    ],
)
def test_an_answer_that_no_vcenter_gives_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, soap: Script, says: str, transient: bool
) -> None:
    monkeypatch.setattr("steps.vsphere.soap.LARGEST_ANSWER", MiB)
    monkeypatch.setattr(transport, "ANSWER_DEADLINE", 0.5)
    with server(tmp_path, soap=soap) as vcenter, pytest.raises(VSphereError) as caught, Client("prod", vcenter):
        pass
    assert says in str(caught.value)
    assert f"logging in at vCenter {vcenter.authority} as backup failed: " in str(caught.value)
    assert caught.value.transient is transient


@pytest.mark.parametrize(
    ("versions", "says", "transient"),
    [
        pytest.param(
            whole(b"<html>no healthy upstream</html>", "503 Service Unavailable"),
            "its services are starting",
            True,
            id="503",
        ),
        pytest.param(whole(b"", "502 Bad Gateway"), "status 502: its services are starting, or down", True, id="502"),
        pytest.param(
            whole(b"", "504 Gateway Timeout"), "status 504: its services are starting, or down", True, id="504"
        ),
        pytest.param(whole(b"<!DOCTYPE html>\n<HTML><p>Please wait"), "is not ready, or no vCenter", True, id="a-page"),
        pytest.param(whole(b"", "404 Not Found"), "does not look like a vCenter", False, id="404"),
        pytest.param(whole(b"<namespaces/>"), "does not look like a vCenter", False, id="no-version"),
        pytest.param(whole(BOMB), "does not look like a vCenter", False, id="xml-bomb"),
        pytest.param(announced, "has more than 1.0 MiB", False, id="100-gb-announced"),
        pytest.param(slowly(HEAD + b"\r\n"), "did not end within 0.5 s", True, id="byte-by-byte"),
    ],
)
def test_a_vcenter_that_is_starting_is_waited_for_and_what_is_none_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, versions: Script, says: str, transient: bool
) -> None:
    monkeypatch.setattr(transport, "ANSWER_DEADLINE", 0.5)
    with (
        server(tmp_path, soap=whole(b""), versions=versions) as vcenter,
        pytest.raises(VSphereError) as caught,
        Client("prod", vcenter),
    ):
        pass
    assert says in str(caught.value)
    assert caught.value.transient is transient


@pytest.mark.parametrize(
    ("files", "says", "transient"),
    [
        pytest.param(announced, "has more than 64.0 MiB", False, id="100-gb-announced"),
        pytest.param(slowly(HEAD + b"\r\n"), "did not end within 0.5 s", True, id="byte-by-byte"),
        pytest.param(no_number, "did not end within 0.5 s", True, id="no-number"),
        pytest.param(cut, "its answer ended after 3 of 10 bytes", True, id="cut"),
    ],
)
def test_a_file_is_read_within_bounds_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: Script, says: str, transient: bool
) -> None:
    monkeypatch.setattr(transport, "ANSWER_DEADLINE", 0.5)
    with (
        server(tmp_path, soap=whole(b""), files=files) as vcenter,
        pytest.raises(VSphereError) as caught,
        explained("vCenter prod", "reading the file"),
    ):
        folder.fetch(vcenter, trust(vcenter), "cookie", "DC1", DatastoreFile("ds", "a.nvram"))
    assert says in str(caught.value)
    assert caught.value.transient is transient


def test_two_thousand_areas_are_far_within_the_bounds(start_vcenter: Starts) -> None:
    """A page of changed areas is the largest answer that a copy waits for (a user's page had as many: bareos issue 2152)."""
    lab = start_vcenter(machine(disks=[disk(size="256 MiB")], change_tracking=True))
    found = lab.discover()
    first = lab.snapshot(found)
    lab.undo(found, first)
    for number in range(2048):
        lab.simulator.write("pgtest1", 2000, number * 128 * KiB, b"x")
    taken = lab.snapshot(found)
    since, now = first.disks[0].change_id or "", taken.disks[0]
    assert len(list(cbt.areas(lab.client, taken.vm, taken.moref, 2000, now.capacity, since))) == 2048
