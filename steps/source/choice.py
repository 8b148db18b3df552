"""How a disk is opened: over HTTPS or with VMware's library, by what the host that opens it has, and by what
the disk's file is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from runner.events.check_results import Observation, observe, wrong
from runner.hosts.host import Host
from runner.step.context import Context
from runner.step.tools import ToolMissing
from steps.nbd import forwards
from steps.source import nbdkit, nbdkit_curl, nbdkit_vddk, reachability
from steps.source.disk_file import DiskFile
from steps.source.https import HttpsServer
from steps.source.nbdkit_vddk import VddkOptions
from steps.source.server import SourceServer
from steps.source.vddk import VddkServer
from steps.vsphere import privileges
from steps.vsphere.client import Client
from steps.vsphere.errors import VSphereError

Transport = Literal["https", "vddk"]

PROGRAMS = {"https": nbdkit_curl.NBDKIT_CURL, "vddk": nbdkit.NBDKIT}


class NoTransport(VSphereError):
    pass


@dataclass(frozen=True)
class Choice:
    """Of VMware's library, for `vddk`: its major `version`, and whether it can tell holes (`extents`)."""

    transport: Transport
    why: str
    version: int = 0
    extents: bool = False


def choose(
    ctx: Context,
    host: Host,
    asked: Literal["auto", "https", "vddk"],
    options: VddkOptions,
    name: str,
    why_not_flat: str,
    verb: Literal["read", "written"] = "read",
) -> Choice:
    """How the disk `name` is to be opened, by looking at what the host has; changes nothing. `why_not_flat`:
    why its file is not a flat base file, empty if it is. Raises NoTransport, HostError."""
    not_flat = f"over HTTPS: {why_not_flat}" if why_not_flat else ""
    if asked == "https":
        if not_flat:
            raise NoTransport(
                f"{name} cannot be read {not_flat}; such a disk takes VMware's VDDK: `transport: vddk`"
            )
        return Choice("https", "the job says so")
    found = look_for_vddk(ctx, host, options)
    if not found.missing:
        why = "the job says so" if asked == "vddk" else f"VDDK {found.version} is on host {host.name}"
        return Choice("vddk", why, found.version, found.extents)
    if asked == "vddk":
        raise NoTransport(f"{name} cannot be {verb} with VDDK: {found.missing}")
    if not_flat:
        raise NoTransport(f"{name} cannot be read {not_flat}; nor with VDDK: {found.missing}")
    return Choice(
        "https", f"its file is a flat base file, and there is no VDDK: {found.missing.partition(':')[0]}"
    )


def open_server(
    ctx: Context,
    host: Host,
    client: Client,
    disk: DiskFile,
    choice: Choice,
    *,
    options: VddkOptions,
    connections: int,
) -> tuple[SourceServer, tuple[str, ...]]:
    """The processes that serve it, until `ctx` is closed, and their NBD URIs (see `SourceServer.open`)."""
    server: SourceServer
    if choice.transport == "vddk":
        server = VddkServer(ctx, host, client, disk, options)
    else:
        server = HttpsServer(ctx, host, client, disk, connections)
    PROGRAMS[choice.transport].require(ctx, host)
    uris = server.open()
    if choice.transport == "vddk":
        ctx.uses(f"VDDK on {host.name}", str(choice.version))
    return server, uris


def look_for_vddk(ctx: Context, host: Host, options: VddkOptions) -> nbdkit_vddk.Found:
    """What the host has of it, asked once a run. Raises HostError, CommandError."""
    try:
        nbdkit.NBDKIT.require(ctx, host)
    except ToolMissing as error:
        return nbdkit_vddk.Found(error.message)
    return ctx.once(("VDDK", host.name, options), lambda: nbdkit_vddk.look(host, options))


def observed(
    ctx: Context, host: Host, client: Client, disk: DiskFile, transport: Transport, options: VddkOptions
) -> tuple[Observation, ...]:
    """What serving it stands on."""

    def permitted() -> str:
        over_vddk = transport == "vddk"
        place = disk.vm, disk.datacenter, disk.datastore
        wanted = privileges.on_vcenter(client) if over_vddk else privileges.on_files(client, *place)
        return privileges.require(client, wanted)

    programs = stands_on(ctx, host, transport)
    if transport == "vddk":
        reached = reachability.examine_vddk(ctx, host, client, disk.vm, options)
    else:
        reached = reachability.examine_https(ctx, host, client, disk)
    return (
        *programs,
        *(() if any(one.state == "wrong" for one in programs) else reached),
        observe(f"disk {disk.key}", f"privileges to {'write' if disk.written else 'read'} it", permitted),
    )


def observed_early(ctx: Context, told: Mapping[str, Any]) -> tuple[Observation, ...]:
    """By what the job file alone tells. Where the disk's file decides how it is read, what HTTPS takes."""
    if not told.keys() >= {"host", "transport", "vddk"}:
        return ()
    host, asked = ctx.host(told["host"]), told["transport"]
    missing = "" if asked == "https" else look_for_vddk(ctx, host, told["vddk"]).missing
    if asked == "vddk" and missing:
        return (wrong(f"host {host.name}", "VMware's VDDK", missing),)
    return stands_on(ctx, host, "https" if asked == "https" or missing else "vddk")


def stands_on(ctx: Context, host: Host, transport: Transport) -> tuple[Observation, ...]:
    """Of the host that opens the disk."""
    program = PROGRAMS[transport].observe(ctx, host)
    return (
        (program,)
        if host.local or program.state == "wrong"
        else (program, forwards.examine_sockets(ctx, host))
    )
