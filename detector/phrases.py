"""Lists, durations and names of streams in messages that people read."""

from __future__ import annotations

from collections.abc import Sequence

from detector.timestamps import DAY, HOUR, MINUTE

# Abbreviation and length in seconds, the longest first.
_SPANS = (("d", DAY), ("h", HOUR), ("min", MINUTE), ("s", 1.0))


def listed(names: Sequence[str], limit: int) -> str:
    """``a, b and 3 more``: at most ``limit`` names, and how many follow."""
    shown = ", ".join(names[:limit])
    left_out = len(names) - limit
    return f"{shown} and {left_out} more" if left_out > 0 else shown


def counted(number: int, noun: str) -> str:
    """``1 stream``, ``1,200 streams``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def duration(seconds: float) -> str:
    """``90 s``, ``45 min``, ``3 d``: in the longest unit that it holds twice."""
    for name, span in _SPANS:
        if seconds >= 2 * span:
            return f"{seconds / span:.0f} {name}"
    return f"{seconds:.0f} s"


def escaped(text: str) -> str:
    """Text with ``\\x1b`` for a character that is not printable, such as ESC.

    Names of streams come from records. A terminal or a browser would obey such a
    character: clear the screen, or reverse the text.
    """
    if text.isprintable():
        return text
    return "".join(map(_escaped_character, text))


def _escaped_character(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")
