"""What NFC takes together: leases, transfers, and where they are reached: at a host's own port, or at the
same one where the simulator is an ESXi host."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from steps.lab.simulator import certificate
from steps.lab.simulator.certificate import Certificates
from steps.lab.simulator.nfc.host_endpoint import HostEndpoint
from steps.lab.simulator.nfc.leases import Leases
from steps.lab.simulator.nfc.transfers import Transfers
from steps.lab.simulator.objects import World


class Nfc:
    def __init__(
        self,
        world: World,
        directory: Path,
        own: Certificates,
        host: str,
        *,
        timeout: float,
        clock: Callable[[], float],
        private: bool,
        chunked: bool,
        calls: Counter[str],
        served: Counter[str],
        received: Counter[str],
    ) -> None:
        """`own`: what the simulator itself shows; `host`: the name of a host that it manages, whose
        certificate comes into `directory`."""
        self._host: HostEndpoint | None = None
        # An ESXi host does not say its name, nor a port ("*": API reference, HttpNfcLeaseDeviceUrl.url).
        url, path, thumbprint = "https://*/", "ha-nfc", own.sha1
        if not world.esxi:
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
            private=private,
            clock=clock,
        )
        self.transfers = Transfers(
            world, self.leases, chunked=chunked, calls=calls, served=served, received=received
        )
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
