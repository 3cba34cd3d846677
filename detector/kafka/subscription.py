"""Which topics are input: those that are named, or those that match one ^regex."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Subscription:
    """The input topics; never a topic that the daemon itself writes.

    Attributes:
        topics: names, or one ^regex.
        own_topics: those that it writes: of states, dead letters and alerts.
    """

    topics: tuple[str, ...]
    own_topics: tuple[str, ...] = ()

    @property
    def pattern(self) -> str | None:
        """The regex, which does not match the daemon's own topics; None if names are
        given.

        kafka-python matches it at the beginning of a topic's name.
        """
        if not self.topics[0].startswith("^"):
            return None
        if not self.left_out:
            return self.topics[0]
        own = "|".join(map(re.escape, self.left_out))
        return rf"^(?!(?:{own})\Z)(?:{self.topics[0]})"

    @property
    def left_out(self) -> tuple[str, ...]:
        """The own topics that the ^regex as it is given matches."""
        pattern = self.topics[0]
        if not pattern.startswith("^"):
            return ()
        return tuple(own for own in self.own_topics if re.match(pattern, own))
