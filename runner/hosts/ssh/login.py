"""Opening a connection: whose host key is accepted, which keys are offered, and what went wrong in one
sentence."""

from __future__ import annotations

import contextlib
import logging
import socket
from dataclasses import dataclass
from typing import Any, NoReturn

import fabric
import paramiko
from paramiko.hostkeys import HostKeyEntry
from paramiko.pkey import UnknownKeyType

from runner.base.errors import HostError
from runner.base.waiting import NEVER
from runner.hosts.connect_limits import (
    CONNECT_TIMEOUT,
    KEEPALIVE,
    address,
    known_hosts,
    known_name,
    start_slot,
)
from runner.hosts.secrets import path_of
from runner.hosts.spec import SSH_PORT, SshSpec

_UNACKNOWLEDGED = 60_000
"""Milliseconds after which the kernel drops a connection whose keepalives nobody acknowledges
(TCP_USER_TIMEOUT, tcp(7)): paramiko sends them, but waits for no answer."""

# Its errors reach the user as ours; without a handler of its own, logging prints its tracebacks.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


@dataclass(frozen=True)
class Login:
    """An open connection."""

    connection: fabric.Connection

    @property
    def transport(self) -> paramiko.Transport:
        transport: paramiko.Transport = self.connection.transport
        return transport

    def active(self) -> bool:
        return self.transport.is_active()

    def close(self) -> None:
        _close(self.connection)


def log_in(name: str, spec: SshSpec) -> Login:
    """Connects and logs in. Raises HostError: transient if the server cannot be reached, final if it is
    another machine than the job says or refuses our key."""
    with start_slot(spec, NEVER):
        connection = _prepare(name, spec)
        try:
            connection.open()
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise _sentence(name, spec, connection, error) from error
        finally:
            if not connection.is_connected:
                _close(connection)
    transport: paramiko.Transport = connection.transport
    transport.set_keepalive(KEEPALIVE)
    for hop in (connection, connection.gateway):
        if hop is not None and isinstance(hop.transport.sock, socket.socket):
            hop.transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED)
            # Without it a command takes 40 ms longer: its request waits for a delayed acknowledgement.
            hop.transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Login(connection)


def _prepare(name: str, spec: SshSpec) -> fabric.Connection:
    gateway = None
    if spec.jump is not None:
        user, _, server = spec.jump.rpartition("@")
        server, port = _split_port(server)
        gateway = _unopened(name, server, port, user or None, spec)
        _know_from_file(name, spec, gateway)
    connection = _unopened(name, address(spec), spec.port, spec.user, spec, gateway)
    if spec.host_key is None:
        _know_from_file(name, spec, connection)
    else:
        _know_pinned(name, spec, connection)
    return connection


def _unopened(
    name: str,
    server: str,
    port: int,
    user: str | None,
    spec: SshSpec,
    gateway: fabric.Connection | None = None,
) -> fabric.Connection:
    connection = fabric.Connection(
        server,
        port=port,
        user=user,
        gateway=gateway,
        # Nothing of ~/.ssh/config, ~/.fabric.yaml and the like: the job says it all.
        config=fabric.Config(
            lazy=True, ssh_config=paramiko.SSHConfig(), overrides={"load_ssh_configs": False}
        ),
        connect_timeout=CONNECT_TIMEOUT,
        connect_kwargs={
            "pkey": _private_key(name, spec),
            "allow_agent": spec.identity is None,
            "look_for_keys": spec.identity is None,
            "banner_timeout": CONNECT_TIMEOUT,
            "auth_timeout": CONNECT_TIMEOUT,
            "channel_timeout": CONNECT_TIMEOUT,
            "transport_factory": _prefer_gcm,
        },
    )
    # Fabric's own policy adds every unknown key.
    connection.client.set_missing_host_key_policy(_RefuseUnknown(name, spec))
    return connection


def _prefer_gcm(*args: Any, **settings: Any) -> paramiko.Transport:
    """AES-GCM first, of paramiko versions that have it: else each packet that comes has its HMAC compared by
    a loop of Python, which took a seventh of a session's CPU time."""
    transport = paramiko.Transport(*args, **settings)
    options = transport.get_security_options()
    options.ciphers = sorted(options.ciphers, key=lambda cipher: "gcm" not in cipher)
    return transport


class _RefuseUnknown(paramiko.MissingHostKeyPolicy):
    def __init__(self, name: str, spec: SshSpec) -> None:
        self._name = name
        self._spec = spec

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> NoReturn:
        raise HostError(
            f"{self._name} ({hostname}) is not in {known_hosts(self._spec)}: it shows {key.get_name()} "
            f"{key.fingerprint}; compare that with the machine's own, then add it there or as `host-key`"
        )


def _private_key(name: str, spec: SshSpec) -> paramiko.PKey | None:
    if spec.identity is None:
        return None
    path = path_of(spec.identity)
    try:
        return paramiko.PKey.from_path(path)
    except OSError as error:
        raise HostError(f"the private key {path} of {name} cannot be read: {error.strerror}") from error
    except (TypeError, paramiko.PasswordRequiredException) as error:
        raise HostError(
            f"the private key {path} of {name} has a passphrase: load it into ssh-agent and leave `identity` "
            "out, or use a key without one"
        ) from error
    except (ValueError, paramiko.SSHException, UnknownKeyType) as error:
        raise HostError(f"{path} is not a private key that can be used for {name}: {error}") from error


def _know_pinned(name: str, spec: SshSpec, connection: fabric.Connection) -> None:
    entry = None
    with contextlib.suppress(paramiko.SSHException):
        # Said below.
        entry = HostKeyEntry.from_line(f"{known_name(address(spec), spec.port)} {spec.host_key}")
    if entry is None or entry.key is None:
        raise HostError(f"the `host-key` of {name} is not a public key: it reads like `ssh-ed25519 AAAA…`")
    connection.client.get_host_keys().add(entry.hostnames[0], entry.key.get_name(), entry.key)


def _know_from_file(name: str, spec: SshSpec, connection: fabric.Connection) -> None:
    path = known_hosts(spec)
    try:
        connection.client.load_host_keys(str(path))
    except FileNotFoundError as error:
        raise HostError(
            f"{path} does not exist: give {name} a `host-key` or `known-hosts` in the job"
        ) from error
    except OSError as error:
        raise HostError(f"{path} cannot be read: {error.strerror}") from error


def _sentence(name: str, spec: SshSpec, connection: fabric.Connection, error: Exception) -> HostError:
    where = f"{name} ({address(spec)} port {spec.port})"
    if isinstance(error, paramiko.BadHostKeyException):
        return HostError(
            f"{where} shows another host key than the job expects: {error.key.get_name()} "
            f"{error.key.fingerprint}; if the machine was replaced on purpose, change `host-key` or "
            "known_hosts"
        )
    transport = connection.client.get_transport()
    if (
        isinstance(error, paramiko.SSHException)
        and transport is not None
        and transport.is_authenticated() is False
    ):
        refused = isinstance(error, paramiko.AuthenticationException) or "authentication" in str(error)
        if refused and transport.is_active():
            key = f"the key {spec.identity.file}" if spec.identity else "every key of the agent and of ~/.ssh"
            return HostError(f"{where} refuses {key} for the user {connection.user}: see its authorized_keys")
    reason = getattr(error, "strerror", None) or str(error) or "it closed the connection"
    return HostError(f"{where} cannot be reached: {reason}", transient=True)


def _close(connection: fabric.Connection) -> None:
    connection.client.close()
    if connection.gateway is not None:
        connection.gateway.client.close()


def _split_port(server: str) -> tuple[str, int]:
    """``[::1]:2222``, ``::1``, ``store:2222`` or ``store``."""
    host, colon, port = server.rpartition(":")
    if colon and port.isdigit() and (host.endswith("]") or ":" not in host):
        return host.strip("[]"), int(port)
    return server.strip("[]"), SSH_PORT
