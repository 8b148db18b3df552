"""The house: imports go down only, and each foreign library has one room."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GROUND = {
    "model",
    "errors",
    "events",
    "units",
    "files",
    "process",
    "leash",
    "identity",
    "lock_file",
    "secrets",
    "render",
    "field_docs",
    "findings",
    "observations",
    "outcomes",
    "result",
    "printable",
    "regular_file",
}
ROOMS = {
    "pyVmomi": "steps/vsphere/",
    "pyVim": "steps/vsphere/",
    "nbd": "steps/copy/nbd.py",
    "fabric": "runner/hosts/ssh/",
    "paramiko": "runner/hosts/ssh/",
    "jinja2": "runner/base/render.py",
    "networkx": "runner/job/graph.py",
    "rich": "runner/console",
    "click": "runner/cli/",
    "guestfs": "steps/guest/",
}
MODULES = sorted(path.relative_to(ROOT) for folder in ("runner", "steps") for path in (ROOT / folder).rglob("*.py"))


def floor(module: str) -> int:
    """0 is the ground; an import may stay on its floor or go down."""
    parts = module.split(".")
    if parts[0] == "steps":
        if len(parts) > 1 and parts[1] in ("vsphere", "qemu", "copy", "repository"):
            return 2
        return 4 if len(parts) > 1 and parts[1] == "lab" else 3
    if len(parts) == 1 or parts[1] in GROUND:
        return 0
    return {"app": 5, "cli": 6}.get(parts[1], 1)


def imports(path: Path) -> list[str]:
    tree = ast.parse((ROOT / path).read_text())
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.append(node.module)
    return found


def name_of(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_imports_go_down_only(path: Path):
    mine = name_of(path)
    for other in imports(path):
        if other.split(".")[0] in ("runner", "steps"):
            assert floor(other) <= floor(mine), f"{mine} imports {other}, which is above it"
            siblings = mine.split(".")[:2] + other.split(".")[:2]
            if floor(mine) == floor(other) == 2:
                assert siblings[1] == siblings[3], f"{mine} imports {other}: rooms of one floor do not know each other"


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_each_foreign_library_has_one_room(path: Path):
    for other in imports(path):
        room = ROOMS.get(other.split(".")[0])
        assert room is None or str(path).startswith(room), f"{path} imports {other}, whose room is {room}"


def test_the_floors_tell_up_from_down():
    assert floor("runner.cli.run") > floor("runner.app") > floor("steps.backup.transfer") > floor("steps.copy.engine")
    assert floor("steps.copy.engine") > floor("runner.engine.executor") > floor("runner.base.model")
