"""The AuthorizationManager: what the one user may do, and where."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from steps.lab.simulator.objects import Managed, World, operation
from steps.lab.simulator.soap import Call
from steps.lab.simulator.vmodl import fault, vim

KNOWN = (
    "Cryptographer.Access",
    "Datastore.AllocateSpace",
    "Datastore.Browse",
    "Datastore.DeleteFile",
    "Datastore.FileManagement",
    "Global.DisableMethods",
    "Global.EnableMethods",
    "Global.LogEvent",
    "Global.ManageCustomFields",
    "Global.SetCustomField",
    "Network.Assign",
    "Resource.AssignVMToPool",
    "System.Anonymous",
    "System.Read",
    "System.View",
    "Task.Create",
    "VApp.Export",
    "VApp.Import",
    "VirtualMachine.Config.AddExistingDisk",
    "VirtualMachine.Config.AddNewDisk",
    "VirtualMachine.Config.AddRemoveDevice",
    "VirtualMachine.Config.AdvancedConfig",
    "VirtualMachine.Config.Annotation",
    "VirtualMachine.Config.CPUCount",
    "VirtualMachine.Config.ChangeTracking",
    "VirtualMachine.Config.DiskExtend",
    "VirtualMachine.Config.EditDevice",
    "VirtualMachine.Config.ManagedBy",
    "VirtualMachine.Config.Memory",
    "VirtualMachine.Config.RawDevice",
    "VirtualMachine.Config.RemoveDisk",
    "VirtualMachine.Config.Rename",
    "VirtualMachine.Config.Resource",
    "VirtualMachine.Config.Settings",
    "VirtualMachine.Config.SwapPlacement",
    "VirtualMachine.Config.UpgradeVirtualHardware",
    "VirtualMachine.Interact.AnswerQuestion",
    "VirtualMachine.Interact.PowerOff",
    "VirtualMachine.Interact.PowerOn",
    "VirtualMachine.Inventory.Create",
    "VirtualMachine.Inventory.Delete",
    "VirtualMachine.Inventory.Unregister",
    "VirtualMachine.Provisioning.DiskRandomAccess",
    "VirtualMachine.Provisioning.DiskRandomRead",
    "VirtualMachine.Provisioning.GetVmFiles",
    "VirtualMachine.Provisioning.PutVmFiles",
    "VirtualMachine.State.CreateSnapshot",
    "VirtualMachine.State.RemoveSnapshot",
    "VirtualMachine.State.RevertToSnapshot",
)
"""Of the hundreds that a vCenter has, those that backups and restores are about."""


class AuthorizationManager(Managed):
    """One user, who may do everything but what the inventory denies, everywhere or on one object."""

    kind = vim.AuthorizationManager

    def __init__(self, world: World, denied: Iterable[str]) -> None:
        super().__init__(world, "AuthorizationManager")
        self._denied = frozenset(denied)

    def grants(self, privilege: str | None, managed: Managed) -> bool:
        return privilege not in self._denied | managed.denied

    def require(self, *needed: tuple[str | None, Managed]) -> None:
        """Raises one NoPermission for all that are missing."""
        missing = [
            (privilege, managed) for privilege, managed in needed if not self.grants(privilege, managed)
        ]
        if missing:
            raise fault(
                vim.fault.NoPermission,
                "Permission to perform this operation was denied.",
                object=missing[0][1].ref,
                privilegeId=missing[0][0],
                missingPrivileges=[
                    vim.fault.NoPermission.EntityPrivileges(entity=managed.ref, privilegeIds=[privilege])
                    for privilege, managed in missing
                ],
            )

    @operation("HasPrivilegeOnEntities")
    def has_privilege_on_entities(self, call: Call) -> list[Any]:
        return [
            vim.AuthorizationManager.EntityPrivilege(
                entity=entity,
                privAvailability=[
                    vim.AuthorizationManager.PrivilegeAvailability(
                        privId=privilege, isGranted=self.grants(privilege, self.world.find(entity))
                    )
                    for privilege in call.arguments.privId
                ],
            )
            for entity in call.arguments.entity
        ]

    @operation("FetchUserPrivilegeOnEntities")
    def fetch_user_privilege_on_entities(self, call: Call) -> list[Any]:
        """All that a user may do on each; nothing of a user who is not known (API reference)."""
        known = call.session.user.lower() == (call.arguments.userName or "").lower()
        return [
            vim.AuthorizationManager.UserPrivilegeResult(
                entity=entity,
                privileges=[name for name in KNOWN if known and self.grants(name, self.world.find(entity))],
            )
            for entity in call.arguments.entities
        ]
