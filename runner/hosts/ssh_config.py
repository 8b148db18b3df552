"""The ssh_config(5) of our ssh processes: they read nothing else."""

from __future__ import annotations

import os
from pathlib import Path

from runner.hosts.connect_limits import CONNECT_TIMEOUT, KEEPALIVE, address, known_hosts
from runner.hosts.secrets import path_of
from runner.hosts.spec import SshSpec

_OPTIONS = {
    "BatchMode": "yes",
    "StrictHostKeyChecking": "yes",
    "GlobalKnownHostsFile": "none",
    "UpdateHostKeys": "no",
    "ConnectTimeout": str(CONNECT_TIMEOUT),
    # Twice what a short outage of the network lasts; then ssh ends, and the tunnel is opened again.
    "ServerAliveInterval": str(KEEPALIVE),
    "ServerAliveCountMax": "3",
    "ExitOnForwardFailure": "yes",
    "StreamLocalBindMask": "0177",
    # A third less CPU than aes-ctr or chacha20; "^" keeps the others behind it.
    "Ciphers": "^aes128-gcm@openssh.com",
}


CONTROL = "control"
"""The name of the socket by which other ssh processes reach one that was started with ``-M``
(ssh_config(5), ControlPath); it binds a name of 17 bytes more first."""


def write_config(directory: Path, spec: SshSpec) -> str:
    """The path of a ssh_config(5) for `server`. It also serves the jump host, to which ssh passes it on.
    Files that the user names are linked to, since their names may hold what ssh would expand."""
    server = {
        "HostName": address(spec),
        "Port": str(spec.port),
        "ControlPath": f"{directory}/{CONTROL}",
    }
    if spec.user is not None:
        server["User"] = spec.user
    if spec.jump is not None:
        server["ProxyJump"] = spec.jump
    if spec.host_key is not None:
        (directory / "pinned").write_text(f"pinned {spec.host_key}\n")
        server |= {"HostKeyAlias": "pinned", "UserKnownHostsFile": f"{directory}/pinned"}
    (directory / "known").symlink_to(known_hosts(spec))
    every = _OPTIONS | {
        "UserKnownHostsFile": f"{directory}/known",
        "IdentityAgent": os.environ.get("SSH_AUTH_SOCK", "none"),
    }
    if spec.identity is not None:
        key = path_of(spec.identity).absolute()
        for suffix in ("", ".pub", "-cert.pub"):
            (directory / f"identity{suffix}").symlink_to(f"{key}{suffix}")
        every |= {"IdentityFile": f"{directory}/identity", "IdentitiesOnly": "yes"}
    lines = ["Host server", *map(" ".join, server.items()), "Host *", *map(" ".join, every.items())]
    path = directory / "config"
    path.write_text("\n".join(lines) + "\n")
    return str(path)
