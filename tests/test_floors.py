"""The house: which room may see which. An import goes down the table only, and each foreign library has one room."""

import ast
from pathlib import Path

import networkx
import pytest

ROOT = Path(__file__).parent.parent

MAY_SEE: dict[str, str] = {
    # The engine: it knows nothing of VMs, disks or vSphere.
    "runner/base": "",
    "runner/hosts": "base",
    "runner/events": "base hosts",
    "runner/report": "base hosts events",
    "runner/step": "base hosts events",
    "runner/job": "base hosts events step",
    "runner/engine": "base hosts events step job",
    "runner/app": "base hosts events step job engine",
    "runner/console": "base events report job engine",
    "runner/cli": "base hosts events report step job engine app console",
    # Libraries: each knows one thing, none knows a step of the backup or another library.
    "steps/vsphere": "runner/base runner/hosts runner/events runner/step",
    "steps/repository": "runner/base runner/hosts runner/events runner/step",
    "steps/qemu": "runner/base runner/hosts runner/step",
    "steps/copy": "runner/base runner/hosts runner/step",
    "steps/guest": "runner/base runner/hosts runner/step",
    # What steps hand each other, and what several of them share.
    "steps/values": "LIBRARIES",
    "steps/nbd": "LIBRARIES values",
    "steps/vm": "LIBRARIES values",
    "steps/points": "LIBRARIES values nbd",
    "steps/source": "LIBRARIES values nbd",
    "steps/incremental": "LIBRARIES values nbd points",
    # Steps: none imports another one.
    "steps/backup": "LIBRARIES values nbd vm points source incremental",
    "steps/restore": "LIBRARIES values nbd vm points source incremental",
    "steps/maintain": "LIBRARIES values nbd vm points source incremental",
    # What a job file's sections are, a vCenter that runs anywhere, and the commands, which ask the engine through app.
    "steps/sections": "LIBRARIES steps/guest values nbd vm points",
    "steps/lab/simulator": "runner/base",
    "steps/lab": "runner/base runner/hosts steps/repository steps/lab/simulator",
    "steps/commands": "runner/base runner/hosts runner/events runner/step runner/job runner/app runner/console runner/cli STEPS",
}
LIBRARIES = "runner/base runner/hosts runner/events runner/step steps/vsphere steps/repository steps/qemu steps/copy"
ROOMS = {
    "pyVmomi": "steps/vsphere/ steps/lab/simulator/",
    "pyVim": "steps/vsphere/ steps/lab/simulator/",
    "nbd": "steps/copy/nbd.py",
    "fabric": "runner/hosts/ssh/",
    "paramiko": "runner/hosts/ssh/",
    "jinja2": "runner/base/render.py",
    "yaml": "runner/base/yaml_nodes.py runner/job/writer.py",
    "networkx": "runner/base/dag.py",
    "rich": "runner/console/",
    "click": "runner/cli/ steps/commands/",
    "guestfs": "steps/guest/",
}
MODULES = sorted(path.relative_to(ROOT) for folder in ("runner", "steps") for path in (ROOT / folder).rglob("*.py"))


def room_of(path: Path) -> str | None:
    """The room of a module; None for the two packages themselves, which have no code."""
    return next((room for room in sorted(MAY_SEE, reverse=True) if Path(room) in path.parents), None)


def seen_from(room: str) -> set[str]:
    words = MAY_SEE[room].replace("LIBRARIES", LIBRARIES).split()
    house = room.split("/")[0]
    seen = {word if "/" in word else f"{house}/{word}" for word in words if word != "STEPS"}
    return seen | {other for other in MAY_SEE if "STEPS" in words and other != room and other.startswith("steps/")}


def imports(path: Path) -> list[str]:
    """Modules, also those that a package hands out: ``from steps.vsphere import cbt``."""
    found = []
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


def file_of(module: str) -> Path | None:
    """The file in this tree, None if the name is of something else."""
    path = Path(*module.split("."))
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if (ROOT / file).is_file():
            return file
    return None


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_room_sees_only_what_the_table_says(path: Path):
    mine = room_of(path)
    for module in imports(path):
        file = file_of(module)
        room = None if file is None else room_of(file)
        if room is None or room == mine:
            continue
        assert mine is not None, f"{path} imports {module}: what stands above all rooms sees none"
        assert room in seen_from(mine), f"{path} imports {module}: {mine} may not see {room}"


def test_the_table_has_no_circle():
    order = {room: number for number, room in enumerate(MAY_SEE)}
    for room in MAY_SEE:
        later = [seen for seen in seen_from(room) if order[seen] > order[room]]
        assert not later, f"{room} stands below {later}"


def test_no_modules_import_each_other_in_a_circle():
    """Neither for types alone nor within a function: who reads one of them would have to read all."""
    house = networkx.DiGraph({path: modules_of(path) for path in MODULES})
    circles = [sorted(map(str, circle)) for circle in networkx.strongly_connected_components(house) if len(circle) > 1]
    assert circles == []


def modules_of(path: Path) -> set[Path]:
    """Those that it imports: ``from steps.vsphere import cbt`` is of cbt, not of what the package itself hands out."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            found |= {file_of(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {file_of(f"{node.module}.{alias.name}") or file_of(node.module) for alias in node.names}
    return {file for file in found if file is not None}


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_no_step_imports_another_one(path: Path):
    if path.parent.name not in ("backup", "restore", "maintain"):
        return
    steps = {step.with_suffix("").as_posix() for step in MODULES if is_step(step)} - {path.with_suffix("").as_posix()}
    for module in imports(path):
        assert module.replace(".", "/") not in steps, f"{path} imports the step {module}"


def is_step(path: Path) -> bool:
    """Whether the registered class of a step is defined there."""
    text = (ROOT / path).read_text()
    return path.parent.name in ("backup", "restore", "maintain") and "(Step[" in text


@pytest.mark.parametrize("room", MAY_SEE)
def test_a_room_says_in_a_sentence_what_it_is_for(room: str):
    purpose = ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text())) or ""
    assert purpose.endswith(".") or ".\n" in purpose, f"{room}/__init__.py has no sentence"


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_each_foreign_library_has_one_room(path: Path):
    for other in imports(path):
        rooms = ROOMS.get(other.split(".")[0])
        assert rooms is None or str(path).startswith(tuple(rooms.split())), (
            f"{path} imports {other}: it lives in {rooms}"
        )
