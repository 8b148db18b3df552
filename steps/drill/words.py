"""A drill in the words of plans and reports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import JsonValue

from runner.base.errors import DifferenceError, SendenseError
from runner.base.units import counted, human_bytes, human_seconds
from runner.events.result import Result
from runner.events.step_report import Alarm, Cell, Picture, Row, Statement, StepReport
from runner.step.decision import Decision
from runner.step.setting import Setting
from steps.values.drill import Drilled, DrillOptions, Expectation, MachineLimits, Verdict
from steps.values.machine import Machine
from steps.values.planned_drill import PlannedDrill

NOTHING_EXPECTED = (
    "nothing is expected, so it cannot pass: add `expect`, such as [{serial: 'login:'}] (`--expect "
    "serial=login:` on the command line)"
)

VERDICTS: Mapping[Verdict, str] = {"passed": "passed", "failed": "FAILED", "undecided": "undecided"}
"""In a line that says nothing of why, as in that of `sendense points`."""

FIRMWARE = {"bios": "BIOS", "efi": "EFI", "efi-secure": "EFI with secure boot"}


def expected(told: Mapping[str, Any]) -> Iterator[Setting]:
    """What a reviewer must see of the fields of `DrillOptions`."""
    expect: tuple[Expectation, ...] | None = told.get("expect")
    if expect is None:
        return
    yield Setting(name="expected", text="; ".join(map(_expectation, expect)) or NOTHING_EXPECTED)
    limits: MachineLimits | None = told.get("limits")
    if limits is not None:
        text = f"{human_bytes(limits.memory)} of memory, {counted(limits.cpus, 'CPU')}, "
        text += f"{human_bytes(limits.overlay)} written"
        yield Setting(name="drill limits", text=text)


def settings(told: Mapping[str, Any], planned: PlannedDrill | None) -> tuple[Setting, ...]:
    host = told.get("host")
    if planned is not None:
        why = f": {planned.host_why}" if planned.host_why else ""
        where = f"{machine(planned.machine)}, on {planned.host}{why}"
    else:
        where = f"on {host}" if host else "on the repository host if it has QEMU, else on this machine"
    return (Setting(name="drill", text=where), *expected(told))


def machine(of: Machine) -> str:
    """``BIOS, 2.0 GiB of memory, 2 CPUs, 1 disk``"""
    memory = f"{human_bytes(of.memory)} of memory"
    return ", ".join((FIRMWARE[of.firmware], memory, counted(of.cpus, "CPU"), counted(len(of.disks), "disk")))


def otherwise(planned: PlannedDrill) -> tuple[str, ...]:
    """What the machine has otherwise than its VM had it, and somebody must know."""
    return tuple(change.sentence for change in planned.machine.changes if change.warn)


def not_tried(planned: PlannedDrill) -> tuple[str, ...]:
    """What a verdict says nothing of, whatever it is."""
    of = planned.machine
    ports = sorted({one.port for one in planned.expect if one.port is not None})
    told = f" beyond {'port' if len(ports) == 1 else 'ports'} {', '.join(map(str, ports))}" if ports else ""
    return (
        "services of which nothing was expected",
        f"the network{told}",
        *(f"what is on {disk.label}" for disk in of.disks if disk.boot is None),
        *(f"{change.what}, which is left out" for change in of.changes if change.warn and not change.becomes),
    )


def decision(planned: PlannedDrill) -> Decision:
    of = planned.machine
    facts = {"host": planned.host, "firmware": FIRMWARE[of.firmware], "memory": human_bytes(of.memory)}
    facts |= {"CPUs": str(of.cpus)}
    facts |= {f"disk {disk.key}": disk.controller for disk in of.disks}
    return Decision(subject=f"drill of {planned.source}", facts=facts, why=planned.host_why)


def rows(planned: PlannedDrill) -> tuple[Row, ...]:
    """Without what stays as it was."""
    return tuple(
        Row(
            table="Drilled machine",
            key=change.what,
            cells={
                "Was": Cell(value=change.was),
                "Becomes": Cell(value=change.becomes or "left out"),
                "Why": Cell(value=change.why),
            },
        )
        for change in planned.machine.changes
        if change.kind != "kept"
    )


def report(out: Drilled) -> StepReport:
    statements = [
        Statement(
            about="verified",
            text=f"{out.source} was booted: {one.expected}, seen after {human_seconds(one.after)}.",
        )
        for one in out.evidence
        if one.after is not None
    ]
    statements += [Statement(about="how", text=f"{out.source}: {how(out)}.")]
    if out.not_tried:
        statements += [Statement(about="how", text=f"{out.source}, not tried: {'; '.join(out.not_tried)}.")]
    picture = (
        ()
        if out.picture_here is None
        else (Picture(caption=f"{out.source}, {out.verdict}: {out.why}", file=out.picture_here),)
    )
    return StepReport(
        rows=(_row(out),),
        statements=tuple(statements),
        pictures=picture,
        alarm=alarm(out),
        # Where it did not pass, the alarm says so, and why.
        result=_result(out, *(("drill passed", out.why) if out.verdict == "passed" else ())),
    )


def after_backup(out: Drilled) -> Result:
    """In a line that tells of a backup first."""
    result = _result(out, f"drill {VERDICTS[out.verdict]}")
    return result.model_copy(update={"warns": out.verdict != "passed"})


def not_drilled(point: str) -> Result:
    return Result(act="drill", subject=point, noun="point", parts=("not drilled",), warns=True)


def _result(out: Drilled, *parts: str) -> Result:
    listed: tuple[JsonValue, ...] = (_listed(out),)
    return Result(act="drill", subject=out.source, noun="point", parts=parts, lists={"drills": listed})


def how(out: Drilled) -> str:
    """``booted on store with TCG (why) and BIOS (SeaBIOS), QEMU 7.2.22, 12.3 s``"""
    if out.accelerator is None:
        return "not booted"
    why = f" ({out.accelerator_why})" if out.accelerator_why else ""
    return (
        f"booted on {out.host} with {out.accelerator.upper()}{why} and {out.firmware}, QEMU {out.qemu}, "
        f"{human_seconds(out.seconds)}; the guest wrote {human_bytes(out.written)}"
    )


def where_to_look(out: Drilled) -> str:
    """The picture and the serial log, in words; empty where there is neither."""
    there = [path for path in (out.picture, out.serial_log) if path is not None]
    return f"look at {' and '.join(there)} on {out.repository_host}" if there else ""


def alarm(out: Drilled) -> Alarm | None:
    if out.verdict == "passed":
        return None
    look = where_to_look(out)
    if out.verdict == "failed":
        text, brief = f"{out.source} does not boot: {out.why}", "failed its drill"
        what = "an older point may boot: `sendense points JOB` lists them"
        code = DifferenceError.exit_code
    else:
        text, brief = f"whether {out.source} boots is undecided: {out.why}", "undecided by its drill"
        # Else it says itself what to do: raise `overlay`, restore into vCenter, attach all disks.
        time_is_over = all(one.after is not None or out.seconds >= one.within for one in out.evidence)
        what = "drill it with more time (`--within`), or expect what this guest says" if time_is_over else ""
        code = SendenseError.exit_code
    text = "; ".join(filter(None, (text, look, what)))
    return Alarm(text=text, exit_code=code, brief=brief, subjects=(out.source,), noun="point")


def _expectation(one: Expectation) -> str:
    return one.words if one.within is None else f"{one.words} within {human_seconds(one.within)}"


def _row(out: Drilled) -> Row:
    cells = {
        "Verdict": Cell(value=out.verdict),
        "Seen": Cell(value=f"{sum(one.seen is not None for one in out.evidence)} of {len(out.evidence)}"),
        "Took": Cell(value=out.seconds, unit="seconds"),
        "Host": Cell(value=out.host),
        "Firmware": Cell(value=out.firmware, detail=True),
        "Accelerator": Cell(value=out.accelerator or "", detail=True),
    }
    return Row(table="Drills", key=out.source, cells=cells)


def _listed(out: Drilled) -> dict[str, Any]:
    return {"point": out.source, "verdict": out.verdict, "why": out.why}


def options(policy: DrillOptions) -> dict[str, Any]:
    """As `Known.told` has the fields of a step."""
    return {"expect": policy.expect, "limits": policy.limits, "host": policy.host}
