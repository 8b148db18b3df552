"""Custom attributes of VMs: what defines them and sets them. There are none on an ESXi host (API reference,
CustomFieldsManager)."""

from __future__ import annotations

from typing import Any

from steps.lab.simulator.machine import Machine
from steps.lab.simulator.objects import CustomField, Managed, World, operation, provides
from steps.lab.simulator.soap import Call
from steps.lab.simulator.vmodl import fault, invalid_argument, vim, vmodl


class CustomFieldsManager(Managed):
    kind = vim.CustomFieldsManager

    def __init__(self, world: World) -> None:
        super().__init__(world, "CustomFieldsManager")

    @provides("field")
    def fields(self) -> list[Any]:
        return [definition(one) for one in self.world.custom_fields.values()]

    @operation("AddCustomFieldDef")
    def add(self, call: Call) -> Any:
        asked = call.arguments
        self._refuse_taken(asked.name)
        return definition(self.world.define(asked.name, asked.moType))

    @operation("RemoveCustomFieldDef")
    def remove(self, call: Call) -> None:
        """With its values."""
        self._field(call.arguments.key)
        del self.world.custom_fields[call.arguments.key]
        for machine in self.world.all(Machine):
            if machine.stands:
                machine.custom.pop(call.arguments.key, None)

    @operation("SetField")
    def set(self, call: Call) -> None:
        asked = call.arguments
        set_value(self.world.find(asked.entity), self._field(asked.key), asked.value)

    def _field(self, key: int) -> CustomField:
        """Raises InvalidArgument."""
        if key not in self.world.custom_fields:
            raise invalid_argument("key")
        return self.world.custom_fields[key]

    def _refuse_taken(self, name: str) -> None:
        if any(one.name == name for one in self.world.custom_fields.values()):
            raise fault(
                vim.fault.DuplicateName, f"The name '{name}' already exists.", name=name, object=self.ref
            )


def definition(field: CustomField) -> Any:
    return vim.CustomFieldsManager.FieldDef(
        key=field.key, name=field.name, type=str, managedObjectType=field.of
    )


def available(world: World) -> list[Any]:
    """Those that a VM can have."""
    return [definition(one) for one in world.custom_fields.values() if one.of in (None, vim.VirtualMachine)]


def set_by_name(machine: Machine, call: Call) -> None:
    """Answers setCustomValue. Raises InvalidArgument."""
    field = next(
        (one for one in machine.world.custom_fields.values() if one.name == call.arguments.key), None
    )
    if field is None:
        raise invalid_argument("key")
    machine.world.authorization.require(("Global.SetCustomField", machine))
    set_value(machine, field, call.arguments.value)


def set_value(on: Managed, field: CustomField, value: str) -> None:
    """Raises InvalidArgument for an attribute of other objects, NotSupported on what is no VM."""
    if not isinstance(on, Machine):
        raise fault(vmodl.fault.NotSupported, "The simulator has custom attributes of VMs only.")
    if field.of not in (None, vim.VirtualMachine):
        raise invalid_argument("key")
    on.custom[field.key] = value
    on.happened(
        vim.event.CustomFieldValueChangedEvent,
        entity=vim.event.ManagedEntityEventArgument(name=on.name, entity=on.ref),
        fieldKey=field.key,
        name=field.name,
        value=value,
    )
    on.world.changed()
