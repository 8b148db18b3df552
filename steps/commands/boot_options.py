"""What the commands that boot a machine are told: what is expected of it, and what it may take. Each value is
as it would stand in a job, for the template's variables and for `DrillOptions`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click
from pydantic import JsonValue

from runner.base.units import parse_duration, parse_size


def boot_options(function: Callable[..., None]) -> Callable[..., None]:
    """--expect, --within, --memory, --cpus, --overlay, --guest-address, --accelerator; see `told_options`."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def told_options(options: Mapping[str, Any]) -> dict[str, JsonValue]:
    """Fields of `DrillOptions` that the command line says something of, under the names of the template's
    variables."""
    values: dict[str, JsonValue] = {}
    if options["expect"]:
        values["expect"] = options["expect"]
    for name in ("within", "accelerator", "guest_address"):
        if options[name] is not None:
            values[name] = options[name]
    limits = {name: options[name] for name in ("memory", "cpus", "overlay") if options[name] is not None}
    if limits:
        values["limits"] = limits
    return values


def _amount(parse: Callable[[object], object]) -> Callable[..., str | None]:
    """For a duration or a size, which stays as it is written."""

    def check(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
        try:
            return value if value is None or parse(value) is not None else None
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return check


def _evidence(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> list[JsonValue]:
    """Values of the variable `expect`."""
    return [_expectation(value) for value in values]


def _expectation(value: str) -> JsonValue:
    kind, _, rest = value.partition("=")
    if kind == "serial" and rest:
        return {"serial": rest}
    if value == "agent":
        return {"agent": True}
    number, _, banner = rest.partition(":")
    if kind == "port" and number.isdecimal() and 0 < int(number) < 65536 and banner:
        return {"port": int(number), "banner": banner}
    raise click.BadParameter(f"{value!r}: write serial=TEXT, port=NUMBER:BANNER (port=22:SSH-), or agent")


_OPTIONS = (
    click.option(
        "--expect",
        multiple=True,
        callback=_evidence,
        metavar="EVIDENCE",
        help="What must be seen for a pass: serial=TEXT, port=NUMBER:BANNER or agent; may be repeated.",
    ),
    click.option(
        "--within",
        callback=_amount(parse_duration),
        metavar="TIME",
        help="By when.  [default: 5m with KVM, 20m without]",
    ),
    click.option("--memory", callback=_amount(parse_size), metavar="SIZE", help="Of the guest, at most."),
    click.option("--cpus", type=click.IntRange(1, 64), metavar="N", help="Of the guest, at most."),
    click.option(
        "--overlay",
        callback=_amount(parse_size),
        metavar="SIZE",
        help="How much the guest may write; it is thrown away.",
    ),
    click.option(
        "--guest-address", metavar="ADDRESS/PREFIX", help="The guest's own address, if it is static."
    ),
    click.option("--accelerator", type=click.Choice(["auto", "kvm", "tcg"]), help="What runs the guest."),
)
