"""govmomi's simulator, running, and a site of jobs whose vCenter it is."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pyVim.connect import SmartConnect
from pyVmomi import vim, vmodl

from steps.lab.simulator import certificate
from tests.simulation import PASSWORD, USER


@dataclass(frozen=True)
class Vcsim:
    """`directory` holds site.yaml, with the vCenter `vcsim` and the repository `main`."""

    directory: Path
    ca: Path
    port: int

    @classmethod
    @contextmanager
    def started(cls, program: str, directory: Path) -> Iterator[Vcsim]:
        made = certificate.make(directory / "tls")
        uploads = directory / "uploads"
        uploads.mkdir()
        command = [program, str(uploads), str(made.server), str(made.key), USER, PASSWORD]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin and process.stdout
            vcsim = cls(directory, made.ca, int(process.stdout.readline()))
            vcsim._write_site()
            yield vcsim
            process.stdin.close()

    def _write_site(self) -> None:
        (self.directory / "password").write_text(PASSWORD)
        (self.directory / "password").chmod(0o600)
        (self.directory / "site.yaml").write_text(
            f"""version: 1
vcenters:
  vcsim:
    server: 127.0.0.1
    port: {self.port}
    username: {USER}
    password: {{file: password}}
    tls: {{ca: {self.ca}}}
repositories:
  main: {{host: local, path: {self.directory}/repository}}
state: {{path: {self.directory}/state}}
"""
        )

    @property
    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca))

    def read(self, name: str, path: str) -> Any:
        """A property of the VM, None where it is unset. By the PropertyCollector: vcsim's `Fetch`, which pyVmomi calls for
        an attribute, panics at one that is unset."""
        service = SmartConnect(host="127.0.0.1", port=self.port, user=USER, pwd=PASSWORD, sslContext=self.context)
        content = service.RetrieveContent()
        found = content.searchIndex.FindByInventoryPath(f"/DC0/vm/{name}")
        assert found is not None, f"vcsim has no VM {name}"
        collector = vmodl.query.PropertyCollector
        spec = collector.FilterSpec(
            objectSet=[collector.ObjectSpec(obj=found)],
            propSet=[collector.PropertySpec(type=vim.VirtualMachine, pathSet=[path])],
        )
        (seen,) = content.propertyCollector.RetrieveContents([spec])
        return seen.propSet[0].val if seen.propSet else None

    def disks(self, name: str) -> list[bytes]:
        """What the VM's disks hold, in the order of its hardware."""
        devices = self.read(name, "config.hardware.device")
        return [self._download(one.backing.fileName) for one in devices if isinstance(one, vim.vm.device.VirtualDisk)]

    def _download(self, descriptor: str) -> bytes:
        store, _, path = descriptor.removeprefix("[").partition("] ")
        target = f"/folder/{quote(path.removesuffix('.vmdk'))}-flat.vmdk?dcPath=DC0&dsName={quote(store)}"
        connection = HTTPSConnection("127.0.0.1", self.port, context=self.context, timeout=20)
        try:
            connection.request("GET", target)
            answer = connection.getresponse()
            assert answer.status == 200, target
            return answer.read()
        finally:
            connection.close()
