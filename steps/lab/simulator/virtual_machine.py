"""VirtualMachine of the API: the properties and operations of a `Machine`."""

from __future__ import annotations

from typing import Any

from steps.lab.simulator import (
    changes,
    configuration,
    custom_fields,
    power,
    reconfiguration,
    removal,
    snapshots,
)
from steps.lab.simulator.devices import View
from steps.lab.simulator.machine import POWER, Machine
from steps.lab.simulator.objects import operation, provides
from steps.lab.simulator.soap import Call
from steps.lab.simulator.vmodl import vim


class VirtualMachine(Machine):
    @provides("config")
    def config(self) -> Any:
        if not self.spec.configured:
            return None
        views = {
            disk.key: View(disk.top, disk.capacity, disk.tracker.change_id if disk.tracker else None)
            for disk in self.disks
        }
        return configuration.config(self, views, self.tracking)

    @provides("snapshot")
    def snapshot(self) -> Any:
        return snapshots.information(self)

    @provides("rootSnapshot")
    def root_snapshots(self) -> list[Any]:
        return [snapshot.ref for snapshot in self.snapshots if snapshot.parent is None]

    @provides("runtime")
    def runtime(self) -> Any:
        return configuration.runtime(self)

    @provides("guest")
    def guest(self) -> Any:
        return configuration.guest(self)

    @provides("summary")
    def summary(self) -> Any:
        return configuration.summary(self)

    @provides("capability")
    def capability(self) -> Any:
        return configuration.capability(self)

    @provides("layoutEx")
    def layout(self) -> Any:
        return configuration.layout(self)

    @provides("datastore")
    def datastore_refs(self) -> list[Any]:
        return [store.ref for store in self.datastores()]

    @provides("network")
    def network_refs(self) -> list[Any]:
        portgroup = vim.dvs.DistributedVirtualPortgroup
        found = []
        for card in self.cards:
            if port := getattr(card.backing, "port", None):
                found.append(portgroup(port.portgroupKey))
            elif network := getattr(card.backing, "network", None):
                found.append(network)
        return found

    @provides("resourcePool")
    def resource_pool(self) -> Any:
        return self.pool

    @provides("parentVApp")
    def parent_vapp(self) -> Any:
        return self.parent.ref if self.in_vapp and self.parent is not None else None

    @provides("customValue")
    def custom_values(self) -> list[Any]:
        return [
            vim.CustomFieldsManager.StringValue(key=key, value=value) for key, value in self.custom.items()
        ]

    @provides("availableField")
    def available_fields(self) -> list[Any]:
        return custom_fields.available(self.world)

    @operation("setCustomValue")
    def set_custom_value(self, call: Call) -> None:
        custom_fields.set_by_name(self, call)

    @provides("recentTask")
    def recent_tasks(self) -> list[Any]:
        return [self.busy] if self.busy is not None else []

    # operations

    @operation("CreateSnapshot_Task")
    def create_snapshot(self, call: Call) -> Any:
        return snapshots.create(self, call)

    @operation("CreateSnapshotEx_Task")
    def create_snapshot_ex(self, call: Call) -> Any:
        return snapshots.create(self, call)

    @operation("RemoveAllSnapshots_Task")
    def remove_all_snapshots(self, call: Call) -> Any:
        return self.start(call, lambda: snapshots.remove_all(self))

    @operation("RevertToCurrentSnapshot_Task")
    def revert_to_current_snapshot(self, call: Call) -> Any:
        return self.start(call, lambda: snapshots.revert(self))

    @operation("ConsolidateVMDisks_Task")
    def consolidate(self, call: Call) -> Any:
        return self.start(call, lambda: snapshots.consolidate(self))

    @operation("ExportVm")
    def export(self, call: Call) -> Any:
        return self.world.leases.export_vm(self, call)

    @operation("ReconfigVM_Task")
    def reconfigure(self, call: Call) -> Any:
        return reconfiguration.of_call(self, call)

    @operation("PowerOnVM_Task")
    def power_on(self, call: Call) -> Any:
        return self.start(call, lambda: power.turn(self, POWER.poweredOn))

    @operation("PowerOffVM_Task")
    def power_off(self, call: Call) -> Any:
        return self.start(call, lambda: power.turn(self, POWER.poweredOff))

    @operation("AnswerVM")
    def answer_question(self, call: Call) -> None:
        power.answer(self, call)

    @operation("Rename_Task")
    def rename_by_call(self, call: Call) -> Any:
        return reconfiguration.rename(self, call)

    @operation("Destroy_Task")
    def destroy_by_call(self, call: Call) -> Any:
        return removal.destroy(self, call)

    @operation("UnregisterVM")
    def unregister_by_call(self, call: Call) -> None:
        removal.unregister(self)

    @operation("QueryChangedDiskAreas")
    def query_changed_disk_areas(self, call: Call) -> Any:
        return changes.query(self, call)
