"""What a person sees while and after commands run. rich lives in this folder only.

``Console`` is a listener of events with two faces: ``live`` on a terminal, ``plain`` lines elsewhere; both
end alike (``final_summary``). ``print_table`` is for commands that answer a question. ``page`` is imported
by what shows a page alone: a reader of Markdown comes with it, which no other command waits for.
"""

from runner.console.diff import print_diff
from runner.console.listener import Console
from runner.console.plain import Level
from runner.console.tables import print_table

__all__ = ["Console", "Level", "print_diff", "print_table"]
