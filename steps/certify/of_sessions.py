"""Sessions, and a mark that is read by its name."""

from __future__ import annotations

from steps.certify import web
from steps.certify.outcomes import NotTried
from steps.certify.scratch import Scratch
from steps.certify.trial import Trial
from steps.vsphere import marks

CALL = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body><CurrentTime xmlns="urn:vim25">'
    '<_this type="ServiceInstance">ServiceInstance</_this></CurrentTime></e:Body></e:Envelope>'
)


def nobody(scratch: Scratch) -> str | None:
    headers = {"SOAPAction": "urn:vim25/6.7", "Content-Type": "text/xml"}
    found = web.request(scratch.client, "/sdk", method="POST", cookie=False, headers=headers, body=CALL)
    text = found.content.decode(errors="replace")
    if found.status != 500 or "NotAuthenticated" not in text:
        return f"status {found.status} without a session, and no NotAuthenticated"
    if "The session is not authenticated." not in text:
        return "NotAuthenticated with another text"
    if "System.View" not in text or 'type="Folder"' not in text:
        return "NotAuthenticated of another object or privilege than the root folder and System.View"
    return None


def by_name(scratch: Scratch) -> str | None:
    found = marks.of(scratch.client, scratch.vm, marks.CERTIFY)
    return (
        None
        if found == scratch.mark
        else "a setting that was given when the VM was made is not read by its name"
    )


def rest(scratch: Scratch) -> str | None:
    found = web.request(scratch.client, "/api/cis/tagging/category", cookie=False)
    if found.status == 404:
        raise NotTried("this vCenter has no /api")
    return None if found.status == 401 else f"status {found.status} without a session"


TRIALS = (
    Trial(2, "a call without a session is NotAuthenticated, of the root folder and System.View", nobody),
    Trial(51, "REST answers 401 without a session", rest),
    Trial(49, "an advanced setting is read by its name as a property", by_name),
)
