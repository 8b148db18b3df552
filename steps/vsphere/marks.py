"""Marks in a VM's advanced settings: which run made it, or is changing it. They are there from its first
moment, and one request finds all of them.

A property path may index: ``config.extraConfig["key"]`` (Web Services SDK Programming Guide; Cinder's VMware
driver finds its volumes by it).
"""

from __future__ import annotations

RESTORE = "sendense.restore"
"""Of a VM that a restore makes, until it is finished."""

ROLLBACK = "sendense.rollback"
"""Of a VM whose disks are put back, from before the first write until all were compared."""

CERTIFY = "sendense.certify"
"""Of a scratch VM."""
