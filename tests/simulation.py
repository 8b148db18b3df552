"""A small simulator and clients of it: pyVmomi for SOAP, http.client for /folder."""

from __future__ import annotations

import base64
import http.client
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyVim.connect import SmartConnect
from pyVmomi import vim, vmodl

from steps.lab.simulator import Inventory, Simulator
from tests.eventually import eventually

PASSWORD = "correct horse"
USER = "backup@vsphere.local"
FLAT = "/folder/db/db-flat.vmdk?dcPath=DC1&dsName=ds1"


def disk(key: int, unit: int = 0, size: Any = "4 MiB", controller: int = 1000, **more: Any) -> dict[str, Any]:
    return {"key": key, "controller": controller, "unit": unit, "size": size, **more}


def machine(name: str = "db", **more: Any) -> dict[str, Any]:
    default = {
        "name": name,
        "datastore": "ds1",
        "controllers": [{"key": 1000, "kind": "pvscsi"}],
        "disks": [disk(2000, content={"pattern": 1}), disk(2001, 1, size="1 MiB + 512 B", content={"pattern": 2})],
    }
    return {**default, **more}


def estate(*vms: dict[str, Any], **more: Any) -> Inventory:
    """One datacenter with a datastore of each kind."""
    stores = [
        {"name": "ds1"},
        {"name": "nfs1", "kind": "nfs"},
        {"name": "vsan1", "kind": "vsan"},
        {"name": "vvol1", "kind": "vvol"},
    ]
    value = {"datacenters": [{"name": "DC1", "datastores": stores, "vms": list(vms) or [machine()]}], **more}
    return Inventory.from_json_value(value)


@dataclass
class Client:
    """A pyVmomi session and an HTTPS connection to one simulator."""

    sim: Simulator
    context: ssl.SSLContext
    _content: Any = field(default=None)

    @classmethod
    def of(cls, sim: Simulator) -> Client:
        return cls(sim, ssl.create_default_context(cafile=str(sim.ca_path)))

    @property
    def service(self) -> Any:
        return SmartConnect(host="127.0.0.1", port=self.sim.port, user=USER, pwd=PASSWORD, sslContext=self.context)

    @property
    def content(self) -> Any:
        if self._content is None:
            self._content = self.service.RetrieveContent()
        return self._content

    def vm(self, path: str = "DC1/vm/db") -> Any:
        found = self.content.searchIndex.FindByInventoryPath(path)
        assert found is not None
        return found

    def wait(self, task: Any, seconds: int = 20) -> Any:
        """The task's result; its fault is raised. By WaitForUpdatesEx, as clients do."""
        collector = self.content.propertyCollector
        spec = vmodl.query.PropertyCollector.FilterSpec(
            objectSet=[vmodl.query.PropertyCollector.ObjectSpec(obj=task)],
            propSet=[vmodl.query.PropertyCollector.PropertySpec(type=vim.Task, pathSet=["info"])],
        )
        created = collector.CreateFilter(spec, False)
        try:
            version = ""
            while True:
                updates = collector.WaitForUpdatesEx(
                    version, vmodl.query.PropertyCollector.WaitOptions(maxWaitSeconds=seconds)
                )
                assert updates is not None, "the task took too long"
                version = updates.version
                info = updates.filterSet[0].objectSet[0].changeSet[0].val
                if info.state == vim.TaskInfo.State.success:
                    return info.result
                if info.state == vim.TaskInfo.State.error:
                    raise info.error
        finally:
            created.Destroy()

    def snapshot(self, vm: Any, name: str = "one", *, memory: bool = False, quiesce: bool = False) -> Any:
        return self.wait(vm.CreateSnapshot_Task(name, "", memory, quiesce))

    def disks(self, config: Any) -> dict[int, Any]:
        return {one.key: one for one in config.hardware.device if isinstance(one, vim.vm.device.VirtualDisk)}

    def track(self, vm: Any) -> None:
        self.wait(vm.ReconfigVM_Task(vim.vm.ConfigSpec(changeTrackingEnabled=True)))

    def await_calls(self, method: str, count: int) -> None:
        assert eventually(lambda: self.sim.calls[method] >= count), f"no {method} came"

    def http(
        self, target: str, method: str = "GET", body: bytes | None = None, *, login: bool = True, **headers: str
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Status, headers and body; header names with underscores for dashes."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.sim.port, context=self.context, timeout=20)
        try:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            if login:
                sent["Authorization"] = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            connection.request(method, target, body, sent)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()


@contextmanager
def running(inventory: Inventory, directory: Path, **options: Any) -> Iterator[Client]:
    with Simulator(inventory, directory, username=USER, password=PASSWORD, **options) as sim:
        yield Client(sim, ssl.create_default_context(cafile=str(sim.ca_path)))
