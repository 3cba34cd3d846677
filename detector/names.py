"""Names of streams: one text for each pair of a stream and a metric, safe to print.

Theory of operation. A stored name is ``<stream>/<metric>``. A metric's own ``/`` is
written ``%2F``, so the last ``/`` is where the metric begins: ``a/b`` with ``c`` is
``a/b/c``, and ``a`` with ``b/c`` is ``a/b%2Fc``. What can't be printed is written as
the percent-encoded bytes of its UTF-8: control characters, line and paragraph
separators, and the marks that turn the direction of text. ``%`` stays itself unless two
upper-case hexadecimal digits follow it, so two names never become one. Ordinary names
stay as they are.

The escape happens once, as records are keyed. So logs, the page, alerts, labels and
dead letters all show the same safe text. Source of the form: RFC 3986, section 2.1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

#: Characters of a stream's name, without its metric; a record with a longer one is
#: rejected. By judgement: the tags of one series of a large Kubernetes cluster take
#: about half of it.
LONGEST_NAME: Final = 1024

#: Tags of a stream that are kept, by their names, and characters of each. Alertmanager
#: and Prometheus take more; a person reads less.
MOST_TAGS: Final = 32
LONGEST_TAG: Final = 512

#: The prefix of a name that begins with no letter.
NO_PREFIX: Final = "(other)"

#: Characters of a metric's name, as its record has it.
LONGEST_METRIC: Final = 256

# A percent sign that reads like the beginning of an escape.
_LIKE_AN_ESCAPE: Final = re.compile("%(?=[0-9A-F]{2})")
_ESCAPES: Final = re.compile("(?:%[0-9A-F]{2})+")
# Joiners that emoji and Indic scripts need: they hide nothing.
_JOINERS: Final = "\u200c\u200d"
_PREFIX: Final = re.compile(r"[^\W\d_]+")
_LONGEST_PREFIX: Final = 40  # characters


def is_plain(text: str) -> bool:
    """Whether :func:`encoded` leaves the text as it is, by a quick look."""
    if not text.isprintable():
        return False
    return "%" not in text or not _LIKE_AN_ESCAPE.search(text)


def encoded(text: str) -> str:
    """The text with all that can't be printed percent-encoded."""
    if is_plain(text):
        return text
    unambiguous = _LIKE_AN_ESCAPE.sub("%25", text)
    if unambiguous.isprintable():
        return unambiguous
    return "".join(map(_printable, unambiguous))


def encoded_metric(text: str) -> str:
    """The same, with ``/`` encoded too."""
    return encoded(text).replace("/", "%2F")


def metric_of(name: str) -> str:
    """The metric of a stored name, with its own ``/``."""
    return name.rpartition("/")[2].replace("%2F", "/")


def metric_stream(stream: str, metric: str) -> str:
    """The name of the stream of one metric; both are as the record has them."""
    return f"{encoded(stream)}/{encoded_metric(metric)}"


def bounded_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """The first tags by their names, as printable text, cut where it is too long."""
    kept = sorted(tags)[:MOST_TAGS]
    return {_cut(name): _cut(tags[name]) for name in kept}


def short_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """As much of the tags as :func:`bounded_tags` needs, which makes the same of both.

    They are not escaped yet, but UTF-8 can hold them.
    """
    kept = sorted(tags)[:MOST_TAGS]
    return {_short(name): _short(tags[name]) for name in kept}


def _short(text: str) -> str:
    """One character more than a tag has, and two that tell whether ``%`` is escaped."""
    beginning = text[: LONGEST_TAG + 3]
    return beginning.encode(errors="backslashreplace").decode()


def _cut(text: str) -> str:
    whole = encoded(text)
    return whole if len(whole) <= LONGEST_TAG else f"{whole[: LONGEST_TAG - 1]}…"


def decoded(text: str) -> str:
    """What :func:`encoded` or :func:`encoded_metric` was given."""
    return _ESCAPES.sub(_decode, text) if "%" in text else text


def split_metric(name: str) -> tuple[str, str]:
    """The stream and the metric that :func:`metric_stream` was given."""
    stream, _, metric = name.rpartition("/")
    return decoded(stream), decoded(metric)


def prefix(name: str) -> str:
    """The letters that a name begins with: ``web`` of ``web-12/cpu``.

    Names that somebody counts up or draws at random mostly share it.
    """
    found = _PREFIX.match(name)
    return found[0][:_LONGEST_PREFIX] if found else NO_PREFIX


def _decode(escapes: re.Match[str]) -> str:
    data = bytes.fromhex(escapes[0].replace("%", ""))
    return data.decode("utf-8", "surrogatepass")


def _printable(character: str) -> str:
    if character.isprintable() or character in _JOINERS:
        return character
    if character.isspace() and character not in "\u2028\u2029" and character > "\x9f":
        return character  # a space of another width
    data = character.encode(errors="surrogatepass")
    return "".join(f"%{byte:02X}" for byte in data)
