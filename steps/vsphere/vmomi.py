"""The names of pyVmomi that this room uses. It is imported with the first of them, since that takes 65 ms
and 20 MB: `validate`, `points` and `plan --offline` ask no vCenter.

    from steps.vsphere import vmomi

    vmomi.vim.VirtualMachine
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyVmomi import vim as vim
    from pyVmomi import vmodl as vmodl
    from pyVmomi.VmomiSupport import DataObject as DataObject
    from pyVmomi.VmomiSupport import GetServiceVersions as GetServiceVersions
    from pyVmomi.VmomiSupport import ManagedObject as ManagedObject
    from pyVmomi.VmomiSupport import versionIdMap as versionIdMap
else:
    _OF_SUPPORT = ("DataObject", "GetServiceVersions", "ManagedObject", "versionIdMap")

    def __getattr__(name: str) -> Any:
        if name not in ("vim", "vmodl", *_OF_SUPPORT):
            raise AttributeError(f"module {__name__} has no attribute {name}")
        module = import_module("pyVmomi.VmomiSupport" if name in _OF_SUPPORT else "pyVmomi")
        found = globals()[name] = getattr(module, name)
        return found
