"""Which topics are input: those that are named, or those that match one ^regex."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Subscription:
    """The input topics; never the topic that the daemon keeps its state in.

    Attributes:
        topics: names, or one ^regex.
        store_topic: the topic of the store, or None.
    """

    topics: tuple[str, ...]
    store_topic: str | None = None

    @property
    def pattern(self) -> str | None:
        """The regex, which does not match the store's topic; None if names are given.

        kafka-python matches it at the beginning of a topic's name.
        """
        if not self.topics[0].startswith("^"):
            return None
        if not self.leaves_out_store:
            return self.topics[0]
        return rf"^(?!{re.escape(self.store_topic or '')}\Z)(?:{self.topics[0]})"

    @property
    def leaves_out_store(self) -> bool:
        """Whether the ^regex as it is given matches the store's topic."""
        if self.store_topic is None or not self.topics[0].startswith("^"):
            return False
        return re.match(self.topics[0], self.store_topic) is not None
