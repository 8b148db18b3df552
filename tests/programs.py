"""Programs of a test's own, in a directory that comes first where a host looks for programs."""

from __future__ import annotations

from pathlib import Path

from tests.eventually import is_gone

ELSEWHERE = "/usr/sbin:/usr/bin:/sbin:/bin"

_ONCE = """\
#!/bin/sh
here=$(dirname "$0")
PATH={elsewhere}
case " $* " in
*{when}*) if rm "$here/armed" 2>/dev/null; then echo $$ >"$here/pid"; {act}
fi ;;
esac
exec {program} "$@"
"""


class Programs:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()

    @property
    def path(self) -> str:
        """For PATH."""
        return f"{self.directory}:{ELSEWHERE}"

    def put(self, name: str, text: str) -> None:
        """One that says its pid lets `runs` and `is_gone` tell of it."""
        (self.directory / name).write_text(text)
        (self.directory / name).chmod(0o755)

    def once(self, name: str, when: str, act: str = "exec sleep 3600") -> None:
        """The real program, but for the first call whose arguments `when` (of sh's `case`) matches: that one does `act`."""
        self.put(name, _ONCE.format(when=when, act=act, program=name, elsewhere=ELSEWHERE))
        (self.directory / "armed").touch()

    def runs(self) -> bool:
        return bool(self._said())

    def is_gone(self) -> bool:
        return is_gone(int(self._said()))

    def _said(self) -> str:
        pid = self.directory / "pid"
        return pid.read_text() if pid.exists() else ""
