"""The house: which room may see which. An import goes down the table only, and each foreign library has one room."""

import ast
import functools
import re
from collections.abc import Iterator
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
    "runner/job": "base hosts step",
    "runner/timers": "base hosts job",
    "runner/engine": "base hosts events step job",
    "runner/sets": "base hosts step job",
    "runner/app": "base hosts events step job engine sets",
    "runner/console": "base events report step engine",
    "runner/cli": "base hosts events report step job timers engine sets app console",
    # Libraries: each knows one thing, none knows a step of the backup or another library.
    "steps/vsphere": "runner/base runner/hosts runner/events runner/step",
    "steps/repository": "runner/base runner/hosts runner/events runner/step",
    "steps/qemu": "runner/base runner/hosts runner/step",
    "steps/copy": "runner/base runner/hosts runner/step",
    "steps/guest": "runner/base runner/hosts runner/step",
    "steps/stream": "runner/base",
    "steps/lock": "runner/base runner/hosts runner/events runner/step repository",
    "steps/trail": "runner/base runner/hosts runner/step repository",
    "steps/brake": "runner/base runner/hosts runner/step repository trail",
    # What steps hand each other, and what several of them share.
    "steps/values": "runner/base runner/step vsphere repository qemu trail",
    "steps/nbd": "runner/base runner/hosts runner/events runner/step qemu copy values",
    "steps/vm": "runner/base runner/hosts runner/step vsphere repository trail",
    "steps/readback": "runner/base runner/hosts runner/events runner/step repository qemu copy values nbd",
    "steps/points": "runner/base runner/hosts runner/events runner/step repository qemu copy trail brake values nbd",
    "steps/source": "runner/base runner/hosts runner/events runner/step vsphere copy values nbd",
    "steps/incremental": "runner/base runner/step vsphere repository qemu copy values nbd points",
    "steps/copies": "runner/base runner/hosts runner/step repository qemu copy trail values nbd readback points incremental",
    "steps/saved_vm": "runner/base runner/hosts vsphere",
    "steps/new_vm": "runner/base runner/hosts runner/step vsphere repository values saved_vm",
    "steps/machine": "runner/base vsphere values saved_vm",
    "steps/efi": "runner/base runner/hosts runner/events runner/step values",
    "steps/boot": "runner/base runner/hosts runner/events runner/step vsphere qemu values nbd machine efi",
    "steps/watch": "runner/base runner/hosts runner/step qemu values boot",
    # Steps: none imports another one.
    "steps/backup": "runner/base runner/hosts runner/events runner/step "
    "vsphere repository qemu copy lock trail brake values nbd vm readback points source incremental",
    "steps/restore": "runner/base runner/hosts runner/events runner/step "
    "vsphere repository qemu copy stream trail values nbd points source incremental saved_vm new_vm",
    "steps/rollback": "runner/base runner/events runner/step vsphere repository copy trail values nbd points source incremental",
    "steps/drill": "runner/base runner/hosts runner/events runner/step repository qemu values nbd points saved_vm machine efi boot watch",
    "steps/copying": "runner/base runner/events runner/step repository qemu copy values points copies",
    "steps/certify": "runner/base vsphere stream new_vm",
    "steps/maintain": "runner/base runner/hosts runner/events runner/step "
    "vsphere repository qemu copy trail values readback points source",
    # What a job file's sections are, a vCenter that runs anywhere, and the commands, which ask the engine through app.
    "steps/sections": "runner/base runner/hosts runner/events runner/step vsphere repository qemu guest lock brake nbd vm readback points "
    "new_vm certify",
    "steps/coverage": "runner/base runner/hosts runner/events runner/report runner/step runner/job runner/app runner/console "
    "repository brake values",
    "steps/notices": "runner/base runner/hosts runner/app coverage",
    "steps/metrics": "runner/base runner/hosts runner/events runner/step runner/job runner/app coverage",
    "steps/lab/simulator": "runner/base",
    "steps/lab": "runner/base runner/hosts repository lab/simulator",
    "steps/commands": "runner/base runner/hosts runner/events runner/step runner/job runner/app runner/console runner/cli "
    "vsphere repository qemu guest trail brake values nbd source vm points backup restore rollback drill copying maintain certify saved_vm machine boot watch coverage notices metrics lock lab "
    "lab/simulator",
}
"""Room → the rooms that its modules import, which stand above it here. A word that names no package is of the same one."""

LIVES_IN = {
    "pyVmomi": "steps/vsphere/ steps/lab/simulator/",
    "pyVim": "",  # nowhere: it comes with pyVmomi, and nothing here needs it
    "nbd": "steps/copy/nbd.py",
    "fabric": "runner/hosts/ssh/",
    "paramiko": "runner/hosts/ssh/",
    "jinja2": "runner/base/render.py",
    "cronsim": "runner/job/schedule.py",
    "yaml": "runner/base/yaml_nodes.py runner/job/writer.py",
    "networkx": "runner/base/dag.py",
    "rich": "runner/console/",
    "click": "runner/cli/ steps/commands/",
    "guestfs": "steps/guest/",
    "tenacity": "runner/base/waiting.py",
    "blake3": "steps/copy/",
    "isal": "steps/stream/",
    "qemu": "steps/boot/monitor.py",
    "apprise": "steps/notices/apprise_process.py",
    "prometheus_client": "steps/metrics/textfile.py",
    "distributed": "runner/sets/dask/",
    "dask": "runner/sets/dask/",
    "cryptography": "steps/vsphere/tls.py steps/lab/simulator/certificate.py",
}
"""Foreign library → the places that import it. pydantic is everywhere: models are what all rooms are written in."""

LATE = {
    (
        "runner/job/load.py",
        "runner.job.remarks",
    ): "with what runs a job: only entries that say they remark something need it",
    (
        "steps/backup/reserve.py",
        "steps.lock",
    ): "a plan alone says what a lock lacks, and only of a repository that has one",
    ("steps/backup/point_files.py", "steps.vsphere"): "tags and attributes, with REST: a run alone saves a point",
    ("runner/base/dag.py", "networkx"): "105 ms and 18 MB: it names cycles, which a job has by mistake alone",
    ("runner/base/render.py", "jinja2"): "40 ms: only jobs with a template, pages and reports need it",
    ("runner/base/render.py", "jinja2.sandbox"): "as jinja2",
    ("runner/console/diff.py", "rich.text"): "as in tables",
    ("runner/console/diff.py", "runner.console.screen"): "as in tables",
    ("runner/console/tables.py", "runner.console.laid_out"): "off a terminal nothing is drawn, so rich draws nothing",
    ("steps/commands/lab_boot.py", "steps.boot"): "as in drill_new_point: other commands of the lab boot nothing",
    ("steps/commands/lab_boot.py", "steps.watch"): "as with steps.boot",
    ("steps/commands/lab_boot.py", "steps.watch.boot"): "as with steps.boot",
    ("steps/drill/drill_new_point.py", "steps.drill"): "a run alone boots anything, with asyncio for QEMU's monitor",
    ("steps/drill/drill_point.py", "steps.drill"): "as in drill_new_point",
    ("steps/drill/installed.py", "steps.boot"): "as in drill_new_point, and a doctor of a machine",
    ("steps/drill/installed.py", "steps.efi"): "as with steps.boot",
    ("steps/drill/plan_drill.py", "steps.drill"): "as in drill_new_point",
    ("steps/metrics/textfile.py", "prometheus_client"): "it may not be installed, which is a sentence",
    ("steps/notices/apprise_process.py", "apprise"): "it may not be installed, which is an exit code of that process",
    ("steps/sections/entries.py", "steps.repository"): "a plan of a set alone reads all of a repository",
    ("steps/sections/entries.py", "steps.brake"): "only what has steps is remarked on, and lists of points read sites",
    ("steps/sections/entries.py", "steps.lock"): "a doctor alone looks at what a lock's timer tells",
    ("steps/sections/entries.py", "steps.nbd"): "a doctor alone looks at forwards, with libnbd",
    ("steps/sections/entries.py", "steps.points"): "a doctor alone asks what retention copies",
    ("steps/sections/entries.py", "steps.readback"): "a doctor alone looks at what digests images, with libnbd",
    ("steps/sections/entries.py", "steps.sections.orphans"): "a sweep alone asks vCenters, with 90 ms of pyVmomi",
    ("steps/sections/entries.py", "steps.vsphere"): "a set alone lists VMs, with pyVmomi as well",
    ("steps/sections/entries.py", "steps.vsphere.room"): "a set with such a limit alone asks vCenters for room",
    ("steps/sections/entries.py", "steps.vsphere.checks"): "a doctor alone asks vCenters, with pyVmomi as well",
    ("steps/vsphere/session.py", "steps.vsphere.soap"): "a class on one of pyVmomi's: most commands ask no vCenter",
    ("steps/vsphere/tls.py", "cryptography"): "17 ms: only a pinned certificate is looked into",
    ("steps/vsphere/vmomi.py", "import_module"): "65 ms and 20 MB of pyVmomi, which only a vCenter needs",
    (
        "runner/cli/job.py",
        "runner.app.selecting",
    ): "job files are looked at without asking anybody, but for one VM of a set",
    ("runner/cli/plan.py", "runner.app.saved_plan"): "few plans are saved",
    ("runner/cli/plan.py", "runner.cli.set_plan"): "one job needs no queue and no census",
    ("runner/job/top_level.py", "runner.job.keys"): "3 ms of models: most jobs have none of the keys of sets",
    ("runner/job/schedule.py", "cronsim"): "most jobs are planned and run without asking when they are due",
    ("runner/base/waiting.py", "tenacity"): "15 ms with asyncio, and in most nights nothing fails",
    ("runner/app/runs.py", "runner.app.own_turn"): "a run with limits of its own alone waits for its turn",
    ("runner/cli/__init__.py", "import_module"): "a command is imported when it is asked for",
    ("runner/cli/run.py", "runner.sets.dask.placement"): "as in worker",
    ("runner/cli/worker.py", "runner.sets.dask.serving"): "half a second of Dask, which an extra installs",
    (
        "runner/hosts/connect.py",
        "import_module",
    ): "only a host behind sshd needs Fabric and paramiko",
}
"""Imports within a function, and why they are not at the head of the module."""

MODULES = sorted(path.relative_to(ROOT) for folder in ("runner", "steps") for path in (ROOT / folder).rglob("*.py"))


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text())


def room_of(path: Path) -> str | None:
    """The room of a module; None for the two packages themselves, which have no code."""
    return next((room for room in sorted(MAY_SEE, reverse=True) if Path(room) in path.parents), None)


def seen_from(room: str) -> set[str]:
    house = room.split("/")[0]
    return {word if word.startswith(("runner/", "steps/")) else f"{house}/{word}" for word in MAY_SEE[room].split()}


@functools.cache
def imports(path: Path) -> list[str]:
    """Modules, also those that a package hands out: ``from steps.vsphere import cbt``."""
    found = []
    for node in ast.walk(parsed(path)):
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


@functools.cache
def rooms_seen(path: Path) -> dict[str, str]:
    """Other rooms that the module at `path` imports of → the name that it imports."""
    files = {module: file_of(module) for module in imports(path)}
    rooms = {room_of(file): module for module, file in files.items() if file is not None}
    return {room: module for room, module in rooms.items() if room not in (None, room_of(path))}


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_room_sees_only_what_the_table_says(path: Path):
    mine = room_of(path)
    for room, module in rooms_seen(path).items():
        assert mine is not None, f"{path} imports {module}: what stands above all rooms sees none"
        assert room in seen_from(mine), f"{path} imports {module}: {mine} may not see {room}"


@pytest.mark.parametrize("room", MAY_SEE)
def test_the_table_permits_nothing_that_is_not_imported(room: str):
    seen = {other for path in MODULES if room_of(path) == room for other in rooms_seen(path)}
    assert seen_from(room) <= seen, (
        f"{room} imports nothing of {sorted(seen_from(room) - seen)}: take that from its row"
    )


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_imports_are_absolute(path: Path):
    """A relative one says neither its room nor, after a move, the same."""
    nodes = ast.walk(parsed(path))
    relative = [node.lineno for node in nodes if isinstance(node, ast.ImportFrom) and node.level]
    assert not relative, f"{path} has relative imports in lines {relative}"


def test_imports_within_functions_have_a_reason_and_no_others_exist():
    assert {late for path in MODULES for late in late_imports(path)} == LATE.keys()


def late_imports(path: Path) -> Iterator[tuple[str, str]]:
    for function in ast.walk(parsed(path)):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.ImportFrom):
                    yield path.as_posix(), node.module or "."
                elif isinstance(node, ast.Call) and ast.unparse(node.func) == "import_module":
                    yield path.as_posix(), "import_module"
                elif isinstance(node, ast.Import):
                    yield from ((path.as_posix(), alias.name) for alias in node.names)


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
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found |= {file_of(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {file_of(f"{node.module}.{alias.name}") or file_of(node.module) for alias in node.names}
    return {file for file in found if file is not None}


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_no_step_imports_another_one(path: Path):
    if path.parent.name not in ("backup", "restore", "rollback", "drill", "maintain"):
        return
    steps = {step.with_suffix("").as_posix() for step in MODULES if is_step(step)} - {path.with_suffix("").as_posix()}
    for module in imports(path):
        assert module.replace(".", "/") not in steps, f"{path} imports the step {module}"


def is_step(path: Path) -> bool:
    """Whether the registered class of a step is defined there."""
    text = (ROOT / path).read_text()
    return path.parent.name in ("backup", "restore", "rollback", "drill", "maintain") and "(Step[" in text


@pytest.mark.parametrize("room", MAY_SEE)
def test_a_room_says_in_a_sentence_what_it_is_for(room: str):
    purpose = ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text())) or ""
    assert purpose.endswith(".") or ".\n" in purpose, f"{room}/__init__.py has no sentence"


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_each_foreign_library_has_one_room(path: Path):
    for other in imports(path):
        places = LIVES_IN.get(other.split(".")[0])
        assert places is None or str(path).startswith(tuple(places.split())), (
            f"{path} imports {other}: it lives in {places}"
        )


@pytest.mark.parametrize(
    ("library", "place"), [(name, place) for name, places in LIVES_IN.items() for place in places.split()]
)
def test_a_foreign_library_is_imported_where_it_lives(library: str, place: str):
    inside = [path for path in MODULES if path.as_posix().startswith(place)]
    assert any(module.split(".")[0] == library for path in inside for module in imports(path)), f"{place}: no {library}"


def test_names_of_modules_in_texts_exist():
    pages = [ROOT / path for path in MODULES] + [*ROOT.glob("*.md"), *ROOT.glob(".github/**/*.md")]
    pages += [*(ROOT / "templates").rglob("*.j2"), *(ROOT / "tests").rglob("*.py")]
    gone = [
        f"{page.relative_to(ROOT)}: {name}"
        for page in pages
        for name in re.findall(r"`((?:runner|steps)(?:\.\w+)+)(?:\(\))?`", page.read_text())
        if not is_in_the_house(name.split("."))
    ]
    assert gone == []


def is_in_the_house(name: list[str]) -> bool:
    """Whether it is a module, or a name in one: ``runner.hosts.host.Host.mark``."""
    if file_of(".".join(name)) is not None:
        return True
    for parts in range(len(name) - 1, 0, -1):
        if (file := file_of(".".join(name[:parts]))) is not None:
            handed_out = file.name == "__init__.py" and name[parts:] in ([alias] for alias in imported(file))
            return handed_out or is_in(parsed(file).body, name[parts:])
    return False


def imported(file: Path) -> set[str]:
    nodes = [node for node in parsed(file).body if isinstance(node, ast.ImportFrom)]
    return {alias.asname or alias.name for node in nodes for alias in node.names}


def is_in(body: list[ast.stmt], name: list[str]) -> bool:
    for node in body:
        if isinstance(node, ast.ClassDef) and node.name == name[0]:
            return len(name) == 1 or is_in(node.body, name[1:])
        if name[0] in names_bound(node):
            return len(name) == 1
    return False


def names_bound(node: ast.stmt) -> set[str]:
    """By a definition or an assignment."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return {node.name}
        case ast.Assign(targets=targets):
            return {target.id for target in targets if isinstance(target, ast.Name)}
        case ast.AnnAssign(target=ast.Name(id=name)):
            return {name}
    return set()
