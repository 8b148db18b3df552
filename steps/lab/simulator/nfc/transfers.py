"""/nfc: POST of a disk as a stream, PUT of a file, GET of either. The url is a ticket: no cookie is asked for
(govmomi).

POST takes disks, PUT what is created beside them: a POST of such a file is 405 (pyvmomi-community-samples
issue 540), and so here is a PUT of a disk (assumed). A PUT onto a file that is there wants `Overwrite: t`, as
govmomi and ovftool send it; that it is 412 without is assumed. A body without its length is refused with 411,
unless the inventory says else: every client that was found sends Content-Length.
"""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus

from steps.lab.simulator.folder import Refused, store
from steps.lab.simulator.https_server import CHUNK, HttpsHandler
from steps.lab.simulator.nfc.disk_upload import DiskUpload
from steps.lab.simulator.nfc.lease import Ended, Lease
from steps.lab.simulator.nfc.leases import Leases
from steps.lab.simulator.nfc.stream_format import GRAIN
from steps.lab.simulator.nfc.stream_reader import StreamRefused
from steps.lab.simulator.nfc.stream_writer import write_stream
from steps.lab.simulator.nfc.tally import Tally
from steps.lab.simulator.nfc.target import Moved, Target
from steps.lab.simulator.objects import World
from steps.lab.simulator.traffic import Traffic

STREAM = "application/x-vnd.vmware-streamVmdk"


class Cut(Exception):
    """A fault closes the connection, without an answer."""


class Transfers:
    def __init__(self, world: World, leases: Leases, traffic: Traffic, *, chunked: bool) -> None:
        """`chunked`: whether a body without its length is taken."""
        self._world = world
        self._leases = leases
        self._traffic = traffic
        self._chunked = chunked

    def serve(self, handler: HttpsHandler) -> None:
        """Answers a request, with its body read in any case: what is closed with bytes unread resets the
        connection, and the answer is lost."""
        body = handler.body()
        try:
            self._serve(handler, body)
        except Refused as refused:
            for _ in body:
                pass
            handler.empty(refused.status)
        except StreamRefused as refused:
            for _ in body:
                pass
            handler.send(HTTPStatus.INTERNAL_SERVER_ERROR, f"{refused}\n".encode(), "text/plain")
        except (Cut, Ended):
            handler.close_connection = True

    def _serve(self, handler: HttpsHandler, body: Iterator[bytes]) -> None:
        method = handler.command
        with self._world.lock:
            self._traffic.calls[f"{method} /nfc"] += 1
        if self._world.faults.hits("http-503", method):
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE)
        if method != "GET" and (slow := self._world.faults.take("upload-slow")):
            self._world.stopping.wait(slow["seconds"])
        _, _, ticket, name = ("///" + handler.path).rsplit("/", 3)
        found = self._leases.find(ticket, name)
        if found is None:
            raise Refused(HTTPStatus.NOT_FOUND)
        lease, target = found
        if method not in lease.takes(target):
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED)
        if method == "GET":
            return self._download(handler, lease, target)
        if "Content-Length" not in handler.headers and not self._chunked:
            raise Refused(HTTPStatus.LENGTH_REQUIRED)
        incoming = self._watched(body, lease, target)
        if method == "POST":
            DiskUpload(self._world, lease, target).receive(incoming)
            return handler.empty(HTTPStatus.OK)
        return handler.empty(self._put(handler, target, incoming))

    def _watched(self, body: Iterator[bytes], lease: Lease, target: Target) -> Iterator[bytes]:
        """The body as long as the lease lasts, counted. Raises Ended, Cut, ConnectionError."""
        faults, total = self._world.faults, 0
        cut, ends = faults.take("upload-cut"), faults.take("upload-timeout")
        for chunk in body:
            total += len(chunk)
            with self._world.lock:
                if ends and total > ends["after"]:
                    lease.time_out()
                if cut and total > cut["after"]:
                    raise Cut
                lease.note(len(chunk))
                self._traffic.received[target.key] += len(chunk)
            yield chunk

    def _put(self, handler: HttpsHandler, target: Target, incoming: Iterator[bytes]) -> int:
        if target.file.exists() and handler.headers.get("Overwrite", "").lower() != "t":
            raise Refused(HTTPStatus.PRECONDITION_FAILED)
        tally = Tally(target.algorithm)
        fresh = store(target.file, _noted(incoming, tally))
        target.moved = Moved(tally.size, tally.algorithm, tally.checksum)
        return HTTPStatus.CREATED if fresh else HTTPStatus.OK

    # downloads

    def _download(self, handler: HttpsHandler, lease: Lease, target: Target) -> None:
        """Chunked, since a stream's length is known at its end only."""
        cut = self._world.faults.take("http-cut")
        tally = Tally(target.algorithm)
        handler.send_response(HTTPStatus.OK)
        handler.send_header("Content-Type", STREAM if target.disk else "application/octet-stream")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for piece in _gathered(self._content(target)):
            with self._world.lock:
                if cut and tally.size + len(piece) > cut["after"]:
                    raise Cut
                lease.note(len(piece))
                self._traffic.served[str(target.path)] += len(piece)
            tally.note(piece)
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        handler.wfile.write(b"0\r\n\r\n")
        target.moved = Moved(tally.size, tally.algorithm, tally.checksum, *target.sizes())

    def _content(self, target: Target) -> Iterator[bytes]:
        disk = target.disk
        if disk is None:
            with target.file.open("rb") as file:
                while piece := file.read(CHUNK):
                    yield piece
            return

        def read(offset: int, length: int) -> bytes:
            with self._world.lock:
                return disk.read(offset, length)

        with self._world.lock:
            places = list(disk.allocated(disk.top, 0, disk.capacity, GRAIN))
        yield from write_stream(disk.capacity, places, read)


def _noted(chunks: Iterator[bytes], tally: Tally) -> Iterator[bytes]:
    for chunk in chunks:
        tally.note(chunk)
        yield chunk


def _gathered(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """In chunks of about `CHUNK`: a grain may be a sector."""
    gathered = bytearray()
    for piece in pieces:
        gathered += piece
        if len(gathered) >= CHUNK:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)
