"""What becomes of a thing of the old VM, as a sentence."""

from __future__ import annotations

from steps.vsphere.vm_spec import Change


def sentence(change: Change) -> str:
    """``PCI device 0 (PCI device of the host) is left out: …``, without a full stop."""
    was = f" ({change.was})" if change.was else ""
    if change.kind == "left out":
        did = f"{change.what}{was} is left out"
    elif change.kind == "kept":
        did = f"{change.what}{was} stays"
    else:
        did = f"{change.what}{was} becomes {change.becomes}"
    return f"{did}: {change.why}" if change.why else did
