"""What a VirtualMachineConfigSpec sets and its VirtualMachineConfigInfo shows, besides devices.

What the simulator acts upon (name, CPUs, memory, firmware, notes, advanced settings …) is in the VM's
`MachineSpec`. All else is kept as it was given, by its name in ConfigSpec, and shown as it was given: most
properties have one name and one type in both.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from runner.base.units import MiB
from steps.lab.simulator.machine_spec import MachineSpec
from steps.lab.simulator.vmodl import DataObject, from_json, vim
from steps.lab.simulator.vmx import OF_OTHERS

RENAMED = {"powerOpInfo": "defaultPowerOps"}
"""Names in ConfigInfo of what ConfigSpec calls otherwise."""

_INFO = {one.name for one in vim.vm.ConfigInfo._GetPropertyList()}
_HARDWARE = {one.name for one in vim.vm.VirtualHardware._GetPropertyList()}
_OWN = {
    "name",
    "version",
    "uuid",
    "instanceUuid",
    "locationId",
    "guestId",
    "annotation",
    "files",
    "firmware",
    "extraConfig",
    "changeTrackingEnabled",
    "changeVersion",
    "createDate",
    "dynamicType",
    "dynamicProperty",
}
"""In the MachineSpec, or nothing to be shown as it was given."""


def of_spec(spec: MachineSpec) -> dict[str, Any]:
    """Those of an inventory file."""
    return given(from_json("VirtualMachineConfigSpec", spec.settings)) if spec.settings else {}


def given(config: Any) -> dict[str, Any]:
    """What a ConfigSpec sets that is kept as it is."""
    found = {}
    for one in config._GetPropertyList():
        value = getattr(config, one.name)
        shown = RENAMED.get(one.name, one.name)
        known = one.name not in _OWN and (shown in _INFO or shown in _HARDWARE)
        if known and value is not None and not (isinstance(value, list) and not value):
            found[one.name] = value
    return found


def merge(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """What is unset in `new` stays as it was, inside data objects too."""
    merged = dict(old)
    for name, value in new.items():
        merged[name] = _merged(merged.get(name), value)
    return merged


def _merged(old: Any, new: Any) -> Any:
    if not isinstance(new, DataObject) or type(old) is not type(new):
        return new
    made = copy.copy(old)
    for one in new._GetPropertyList():
        value = getattr(new, one.name)
        if value is not None and not (isinstance(value, list) and not value):
            setattr(made, one.name, _merged(getattr(made, one.name), value))
    return made


def show(settings: Mapping[str, Any], made: Any) -> None:
    """In a ConfigInfo."""
    for name, value in settings.items():
        shown = RENAMED.get(name, name)
        where = made if shown in _INFO else made.hardware
        setattr(where, shown, _merged(getattr(where, shown), value))


def changed(spec: MachineSpec, config: Any) -> MachineSpec:
    """`spec` with what `config` sets of it."""
    update: dict[str, Any] = {}
    for name, value in (
        ("annotation", config.annotation),
        ("guest", config.guestId),
        ("firmware", config.firmware),
        ("cpus", config.numCPUs),
        ("memory", config.memoryMB and config.memoryMB * MiB),
        ("hardware_version", config.version and int(config.version.removeprefix("vmx-"))),
        ("secure_boot", config.bootOptions and config.bootOptions.efiSecureBootEnabled),
    ):
        if value is not None:
            update[name] = value
    if config.extraConfig:
        update["extra_config"] = _extra(spec.extra_config, config.extraConfig)
    return spec.model_copy(update=update)


def _extra(old: Mapping[str, str], options: Any) -> dict[str, str]:
    """An empty value deletes a key (API reference, ConfigSpec.extraConfig)."""
    kept = dict(old)
    for option in options:
        if option.value == "":
            kept.pop(option.key, None)
        elif option.key not in OF_OTHERS:
            kept[option.key] = str(option.value)
    return kept
