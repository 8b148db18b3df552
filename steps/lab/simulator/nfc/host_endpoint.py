"""An ESXi host's own HTTPS: another port, its own certificate, /nfc alone."""

from __future__ import annotations

import ssl

from steps.lab.simulator.https_server import HttpsHandler, HttpsServer
from steps.lab.simulator.nfc.transfers import Transfers

PREFIX = "/nfc/"


class HostEndpoint(HttpsServer):
    """`transfers` is set before it serves."""

    transfers: Transfers

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(0, context, Handler)


class Handler(HttpsHandler):
    server: HostEndpoint

    def _any(self) -> None:
        if self.path.startswith(PREFIX):
            self.server.transfers.serve(self)
        else:
            self.empty(404, close=True)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _any  # noqa: N815  (http.server's names)
