"""Files of the scratch VM over HTTPS, while it is off."""

from __future__ import annotations

from steps.certify import web
from steps.certify.outcomes import NotTried
from steps.certify.scratch import Scratch
from steps.certify.trial import Trial
from steps.vsphere import machine
from steps.vsphere.names import DatastoreFile

REALM = 'Basic realm="VMware HTTP server"'


def _vmx(scratch: Scratch) -> DatastoreFile:
    return machine.vmx_file(scratch.client, scratch.vm)


def unknown(scratch: Scratch) -> str | None:
    found = web.request(
        scratch.client, web.target(scratch.place.datacenter, _vmx(scratch)), method="HEAD", cookie=False
    )
    if found.status != 401:
        return f"status {found.status} without a login"
    told = found.headers.get("www-authenticate", "")
    return None if told == REALM else "another challenge of a login than that of VMware HTTP server"


def ranges(scratch: Scratch) -> str | None:
    found = web.request(
        scratch.client, web.target(scratch.place.datacenter, _vmx(scratch)), headers={"Range": "bytes=0-9"}
    )
    if found.status != 206:
        return f"status {found.status} for a Range"
    if len(found.content) != 10 or not found.headers.get("content-range", "").startswith("bytes 0-9/"):
        return f"{len(found.content)} bytes for a Range of 10"
    return None


def listing(scratch: Scratch) -> str | None:
    file = _vmx(scratch)
    directory = DatastoreFile(file.datastore, file.path.rpartition("/")[0])
    found = web.request(scratch.client, web.target(scratch.place.datacenter, directory))
    if found.status != 200 or "html" not in found.headers.get("content-type", ""):
        return f"status {found.status} for a directory, and no page"
    return (
        None if file.path.rpartition("/")[2].encode() in found.content else "the page does not name the file"
    )


def twice(scratch: Scratch) -> str | None:
    once, again = (web.target(scratch.place.datacenter, _vmx(scratch), escaped=number) for number in (1, 2))
    if once == again:
        raise NotTried("nothing in the names of datacenter and datastore is escaped")
    said = []
    for words, target in (("once", once), ("twice", again)):
        if (status := web.request(scratch.client, target, method="HEAD").status) != 200:
            said.append(f"status {status} for names escaped {words}")
    return "; ".join(said) or None


def slash(scratch: Scratch) -> str | None:
    target = web.target(scratch.place.datacenter, _vmx(scratch), slash=True)
    status = web.request(scratch.client, target, method="HEAD").status
    return None if status == 200 else f"status {status} for a dcPath with a leading slash"


def absent(scratch: Scratch) -> str | None:
    file = _vmx(scratch)
    nothing = DatastoreFile(file.datastore, f"{file.path}.nothing")
    found = web.request(scratch.client, web.target(scratch.place.datacenter, nothing), method="HEAD")
    return None if found.status == 404 else f"status {found.status} for a file that is not there"


def flat(scratch: Scratch) -> str | None:
    """Of a disk that nobody uses."""
    storage = scratch.place.storage.lower()
    if storage not in ("vmfs", "nfs", "nfs41", "vsan", "vvol"):
        raise NotTried(f"nothing is assumed of {scratch.place.storage}")
    scratch.remove_snapshots()
    found = web.request(
        scratch.client,
        web.target(scratch.place.datacenter, scratch.flat_file),
        method="HEAD",
    )
    expected = 200 if storage.startswith(("vmfs", "nfs")) else 404
    return (
        None
        if found.status == expected
        else f"status {found.status} for a flat file on {scratch.place.storage}"
    )


TRIALS = (
    Trial(27, "/folder answers 401 with its realm where nobody is logged in", unknown),
    Trial(27, "/folder answers a Range with 206 and no more than that", ranges),
    Trial(27, "/folder lists a directory as a page", listing),
    Trial(28, "/folder takes names escaped once or twice", twice),
    Trial(28, "/folder takes a dcPath with a leading slash", slash),
    Trial(28, "/folder answers 404 for what is not there", absent),
    Trial(28, "/folder has flat files on VMFS and NFS, and none on vSAN and vVol", flat),
)
