"""What commands take that look at nothing but files: their start."""

from __future__ import annotations

from runner.base.render import shipped
from tests.bench.command import show, take

AIM, AIM_OF_PLAN = 0.5, 1.5


def main() -> None:
    job = str(shipped("jobs/full.yaml"))
    print("The start of a command, min / median / max:")
    show("  --help", take(["--help"]), AIM)
    show("  validate", take(["validate", job]), AIM)
    show("  plan --offline", take(["plan", job, "--offline"]), AIM_OF_PLAN)


if __name__ == "__main__":
    main()
