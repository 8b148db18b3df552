"""A vCenter that runs anywhere: TLS, SOAP, inventory, tasks, snapshots, changed block tracking, disks over
HTTPS.

It behaves as the vSphere API reference documents and users report a real one to; each file says which source
it follows and what is its own assumption. It listens on loopback only.

From the wire inwards: ``https_server`` with ``endpoint``, ``access`` and ``folder`` (files), ``nfc/``
(disks under leases, at a port of an ESXi host), ``vapi`` with ``tagging`` (tags), ``dispatch`` with
``soap`` (calls), all of it counted in ``traffic``; ``services``: ``sessions`` with ``session_manager`` and
``tickets``, ``collector`` with ``retrieval``, ``properties``, ``filters`` and ``views``,
``service_instance``, ``authorization``, ``search_index``, ``tasks`` with ``task_manager``, ``events`` with
``event_manager`` (both read through ``history``), ``datastore_browser``, ``custom_fields``; the inventory
tree in ``tree``, ``compute``, ``networks``, ``datastore`` and ``machine`` (``thin_machine`` where thousands
are made by number) with ``stored_machine``, ``devices``, ``configuration``, ``snapshots`` and ``changes``;
below a VM its ``disk`` of layers (``rawfile``, ``ranges``), filled by ``content``, followed by
``tracking``.

``creation``, ``reconfiguration``, ``power`` and ``removal`` make and change a VM: ``privileges`` and
``checks`` first, then a plan (``device_changes``, ``disk_changes``, with ``slots``, ``backings``, ``mac``,
``identities``), then the change. ``objects`` holds all of it together, ``faults`` breaks it on demand,
``vmodl`` has pyVmomi's types.
"""

from steps.lab.simulator.faults import FAULTS, FaultKind
from steps.lab.simulator.inventory import DEFAULT_INVENTORY, ESTATE, Inventory, load_inventory
from steps.lab.simulator.server import Simulator

__all__ = ["DEFAULT_INVENTORY", "ESTATE", "FAULTS", "FaultKind", "Inventory", "Simulator", "load_inventory"]
