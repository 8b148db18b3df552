"""What commands on a repository of 10,000 restore points take, on this machine and through SSH."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from steps.lab.sshd import Sshd
from tests.bench.command import show, take
from tests.bench.measure import spent_below
from tests.chain import many
from tests.eventually import eventually

AIM = 3.0
POLICY = ("--keep-last=3", "--keep-daily=7", "--keep-weekly=5", "--keep-monthly=12")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="sb-") as name:
        directory = Path(name)
        root = directory / "repository"
        many(root, vms=100, points=100)
        site = directory / "site.yaml"
        site.write_text(f"version: 1\nrepositories: {{main: {{host: local, path: {root}}}}}\n")
        _measure(site, "here")
        sshd = Sshd(directory / "sshd")
        sshd.start()
        try:
            far = directory / "far.yaml"
            spec = sshd.spec.model_dump_json(by_alias=True, exclude_none=True)
            far.write_text(
                f"version: 1\nhosts: {{store: {spec}}}\nrepositories: {{main: {{host: store, path: {root}}}}}\n"
            )
            _measure(far, "through SSH", lambda: _spent(sshd, directory / "sshd" / "pid"))
        finally:
            sshd.stop()


def _spent(sshd: Sshd, pid: Path) -> float:
    """What a session took is its server's once it has ended."""
    assert eventually(lambda: not sshd.connections())
    return spent_below(int(pid.read_text()))


def _measure(site: Path, where: str, far: Callable[[], float] = lambda: 0.0) -> None:
    print(f"10,000 restore points {where}, min / median / max:")
    show("  points", take(["points", str(site)], far), AIM)
    show("  points --json", take(["points", str(site), "--json"], far), AIM)
    show("  prune --dry-run", take(["prune", str(site), *POLICY, "--dry-run"], far), AIM)


if __name__ == "__main__":
    main()
