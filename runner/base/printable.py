"""Text from elsewhere (names, notes, paths, what programs said) as what a terminal, XML or a line of a table
can show."""

from __future__ import annotations


def printable(text: str) -> str:
    """`text` without control characters, which names from elsewhere may hold: they would rule a terminal, and
    XML does not allow them."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else " " if character in "\n\r\t" else f"\\x{ord(character):02x}"
        for character in text
    )


def visible(text: str) -> str:
    """As `printable`, of what has lines and tabs, which stay."""
    if text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join(each if each in "\n\t" else printable(each) for each in text)
