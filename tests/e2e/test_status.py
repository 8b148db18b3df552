"""What `sendense status` says of a job: while it runs, after it was killed, when it is done."""

import json
import os
import threading
from typing import Any

import pytest

from runner.cli import main
from runner.events.events import Event, NodeStarted
from runner.hosts.identity import own
from runner.hosts.lock_file import compose
from tests.e2e.site import Pause, Site, disk, inventory

INVENTORY = inventory({"name": "vm", "disks": [disk(2000, "5 MiB", 0, 1)]})


def status(site: Site, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["status", str(site.job("vm")), *options])
    return capsys.readouterr().out


def test_a_run_that_goes_on_shows_who_holds_it_and_how_far_each_node_is(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    pause = Pause("verify[2000]")
    first: list[Any] = []
    thread = threading.Thread(target=lambda: first.append(site.run("vm", pause)))
    thread.start()
    try:
        assert pause.reached.wait(60)
        said: dict[str, Any] = json.loads(status(site, capsys, "--json"))
        text = status(site, capsys)
    finally:
        pause.go_on.set()
        thread.join()
    run = first[0].result.run
    assert (said["schema_version"], said["running"]) == (1, run)
    assert f"pid {os.getpid()}" in said["holder"]
    nodes = {node["node"]: node for node in said["nodes"]}
    assert (nodes["transfer[2000]"]["state"], nodes["publish"]["state"]) == ("done", "waiting")
    assert nodes["transfer[2000]"]["bytes"][0]["done"] == nodes["transfer[2000]"]["bytes"][0]["total"] == 5 << 20
    assert "Running now: " in text and f"pid {os.getpid()}" in text
    assert any("transfer[2000]" in line and "5.0 MiB of 5.0 MiB" in line for line in text.splitlines())
    assert first[0].exit_code == 0  # looking did not disturb it

    said = json.loads(status(site, capsys, "--json"))
    assert (said["running"], said["holder"], said["runs"][-1]["phase"]) == (None, None, "finished")


def test_a_killed_run_left_its_name_but_does_not_go_on(site: Site, capsys: pytest.CaptureFixture[str]) -> None:

    interrupt = threading.Event()

    def stop(event: Event) -> None:
        if isinstance(event, NodeStarted) and event.node == "transfer[2000]":
            interrupt.set()

    assert site.run("vm", stop, stop=interrupt).exit_code == 130
    run = json.loads(status(site, capsys, "--json"))["runs"][-1]["id"]
    (lock,) = site.directory.glob("state/*/.lock")
    gone = own().__class__(1 << 22, 1, own().boot, own().command)
    lock.write_bytes(
        compose(f"run {run} on somewhere, pid {gone.pid}", f"{run}:00000000", gone)
    )  # as a SIGKILL leaves it
    said = json.loads(status(site, capsys, "--json"))
    assert said["running"] is said["holder"] is None
    assert said["died"] == run
    (snapshot,) = site.snapshots()
    assert any(snapshot in held["what"] and held["since"] for held in said["held"][run])
    text = status(site, capsys)
    assert "died; resumable" in text
    assert "Held" in text
    assert site.run("vm").exit_code == 0
