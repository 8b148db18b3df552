"""The wheel alone, in a fresh environment outside the checkout: nothing is taken from the checkout."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def call(*argv: str | Path, cwd: Path, timeout: float = 240.0) -> str:
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    done = subprocess.run([str(word) for word in argv], cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_in_a_fresh_environment_runs_the_demo(tmp_path: Path):
    call(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        tmp_path,
        ROOT,
        cwd=tmp_path,
    )
    (wheel,) = tmp_path.glob("*.whl")
    base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    call(base, "-m", "venv", "--system-site-packages", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    call(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", wheel, cwd=tmp_path)
    where = call(python, "-c", "import runner, steps; print(runner.__file__, steps.__file__)", cwd=tmp_path)
    assert all(Path(path).is_relative_to(tmp_path) for path in where.split())
    said = call(tmp_path / "venv" / "bin" / "sendense", "demo", cwd=tmp_path)
    assert "Restore point" in said
    assert "qemu-img convert -p -f qcow2 -O raw " in said
    assert "All of it was removed again; `sendense demo --keep DIR` leaves it there" in said
