"""What a person sees while and after commands run. rich lives in this folder only.

``listener`` has the console that listens to events, with two faces: ``live`` on a terminal, ``plain`` lines
elsewhere; both end alike (``final_summary``). ``tables`` is for commands that answer a question. ``page``
shows a page of Markdown.
"""
