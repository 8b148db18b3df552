"""What NFC takes together: leases, transfers, and where they are reached: at a host's own port, or at the
same one where the simulator is an ESXi host."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from steps.lab.simulator import certificate
from steps.lab.simulator.certificate import Certificates
from steps.lab.simulator.compute import Host
from steps.lab.simulator.inventory import Inventory
from steps.lab.simulator.nfc.host_endpoint import HostEndpoint
from steps.lab.simulator.nfc.leases import Leases
from steps.lab.simulator.nfc.transfers import Transfers
from steps.lab.simulator.objects import World
from steps.lab.simulator.traffic import Traffic


class Nfc:
    def __init__(
        self,
        world: World,
        inventory: Inventory,
        own: Certificates,
        directory: Path,
        traffic: Traffic,
        *,
        timeout: float,
        clock: Callable[[], float],
    ) -> None:
        """`own`: what the simulator itself shows; a host's certificate comes into `directory`."""
        self._host: HostEndpoint | None = None
        # An ESXi host does not say its name, nor a port ("*": API reference, HttpNfcLeaseDeviceUrl.url).
        url, path, thumbprint = "https://*/", "ha-nfc", own.sha1
        if not world.esxi:
            host = next((one.name for one in world.all(Host)), "esxi.example")
            certificates = certificate.make_own(directory, host)
            self._host = HostEndpoint(certificates.context())
            url, path = f"https://127.0.0.1:{self._host.server_port}/", "nfc"
            thumbprint = certificates.sha1
        self.leases = Leases(
            world,
            host=url,
            path=path,
            thumbprint=thumbprint,
            timeout=timeout,
            private=inventory.private_leases,
            clock=clock,
        )
        self.transfers = Transfers(world, self.leases, traffic, chunked=inventory.chunked_uploads)
        if self._host is not None:
            self._host.transfers = self.transfers
        self._thread = threading.Thread(target=self._serve, name="esxi", daemon=True)

    def _serve(self) -> None:
        if self._host is not None:
            self._host.serve_forever(poll_interval=0.05)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """A vCenter that stops ends its leases, with what they made."""
        self.leases.close()
        if self._host is not None:
            if self._thread.is_alive():
                self._host.shutdown()
                self._thread.join(timeout)
            self._host.server_close()
            self._host.close_connections(timeout)
