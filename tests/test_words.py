"""The field's words: what a person reads here, in messages, help, docstrings and comments, has none of our own making.

A line that needs one of them after all (a name that VMware or qemu gave) is not one of these; rephrase it.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
WORDS = (
    (r"goes on with|gone on with|going on with|to go on\b", "resumes, resume, continues"),
    (r"begun anew|begins? anew|made anew|filled anew|decided anew", "started over, recreated, chosen again"),
    (r"\blets? go of|\blet go\b|lets go\b", "released, discarded"),
    (r"taken back|takes? back|taking back", "released, rolled back"),
    (r"given up\b|gives? up\b|giving up\b", "discarded, abandoned"),
    (r"until done or let go", "retained until the run completes or is discarded"),
    (r"\blies on\b|\blie on\b|\blay on\b|\blain on\b", "is backed by"),
    (r"stands? alone|lies on nothing", "is a full, has no backing file"),
    (r"reads? otherwise", "does not match its digest at"),
    (r"nobody knows", "unknown; parent unknown"),
    (r"counts? as good no|no longer counts? as good", "no longer trusted"),
    (r"in the way\b", "unexpected; say what keeps it from happening"),
    (r"\bmend(s|ed|ing)?\b", "fix"),
    (r"last sign of life", "last event"),
    (r"it goes on now", "running"),
    (r"stood from before", "reused"),
    (r"done for good", "completed earlier"),
    (r"\bonly looks?\b", "read-only"),
    (r"looked for this plan", "evaluated now"),
    (r"tells? it apart|as much as tells", "any unambiguous prefix"),
    (r"\bwhoever\b|nobody who\b", "say who: the user, the caller, the next run"),
    (r"could not be taken", "cleanup failed"),
    (r"uses: (base|check-point|deliver|retention)\b", "choose-parent, verify-point, finalize-restore, plan-retention"),
    (r"\bthe hub\b|\bhost: hub\b|\bon hub\b", "the repository host; `store` as a host's name"),
)
"""What is not written → what is."""
PLACES = ("README.md", "runner", "steps", "templates", "jobs")
SUFFIXES = {".py", ".j2", ".yaml", ".md", ".sh"}


def files() -> list[Path]:
    roots = [ROOT / place for place in PLACES]
    inside = [path for root in roots if root.is_dir() for path in root.rglob("*") if path.suffix in SUFFIXES]
    return sorted([root for root in roots if root.is_file()] + inside)


def text_of(path: Path) -> str:
    """Of the same length, with sentences in one piece: a string that goes on in the next line, a comment and its `#`."""
    text = path.read_text()
    return re.sub(r"\"\n\s*f?\"|\n\s*# ?", lambda joint: " " * len(joint[0]), text)


@pytest.mark.parametrize(("not_this", "but"), WORDS, ids=[but for _, but in WORDS])
def test_what_people_read_has_the_fields_words(not_this: str, but: str) -> None:
    spaced = re.compile(not_this.replace(" ", r"\s+"), re.IGNORECASE)
    found = []
    for path in files():
        text = path.read_text()
        for match in spaced.finditer(text_of(path)):
            line = text.count("\n", 0, match.start()) + 1
            found.append(f"{path.relative_to(ROOT)}:{line}: {' '.join(match[0].split())!r}: write {but}")
    assert not found, "\n" + "\n".join(found)
