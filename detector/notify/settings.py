"""Settings of routes: which receivers an alert goes to, and in whose company."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from detector.notify.routes import EACH_STREAM, Route
from detector.setting_types import Listed, Patterns

SEVERITIES = ("warning", "critical")


class RouteSettings(BaseModel):
    """A route: conditions that must all hold, and who gets the alerts they hold for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    receiver: str = Field(description="a receiver's name; empty: nobody")
    severity: Listed = Field((), description="warning, critical, or both")
    match: Mapping[str, str] = Field({}, description="label = value")
    match_regex: Patterns = Field(
        {}, description="label = what its whole value must match"
    )
    continue_: bool = Field(
        False, alias="continue", description="whether to try the routes after this one"
    )
    group_by: Listed = Field(
        EACH_STREAM,
        description="labels whose values the alerts of one post have in common",
    )
    group_wait: float = Field(
        0.0,
        ge=0,
        le=3600,
        description="seconds that the first alert of a group waits for others",
    )
    repeat_interval: float = Field(
        0.0,
        ge=0,
        description="seconds after which a firing alert is posted again; 0: never",
    )

    @field_validator("severity")
    @classmethod
    def _check_severity(cls, severities: tuple[str, ...]) -> tuple[str, ...]:
        for severity in severities:
            if severity not in SEVERITIES:
                expected = " or ".join(SEVERITIES)
                raise ValueError(f"{severity!r} is not a severity: {expected}")
        return severities

    @model_validator(mode="after")
    def _check_matches(self) -> RouteSettings:
        both = sorted(self.match.keys() & self.match_regex.keys())
        if both:
            raise ValueError(f"match and match_regex both name {both[0]}")
        return self

    @property
    def has_conditions(self) -> bool:
        return bool(self.severity or self.match or self.match_regex)

    def named_labels(self) -> Iterator[str]:
        """The labels that the route looks at."""
        yield from self.match
        yield from self.match_regex
        yield from self.group_by

    def route(self) -> Route:
        exact = {name: re.escape(value) for name, value in self.match.items()}
        patterns = exact | dict(self.match_regex)
        return Route(
            receiver=self.receiver,
            severities=frozenset(self.severity),
            label_patterns={n: re.compile(p) for n, p in patterns.items()},
            continues=self.continue_,
            group_by=self.group_by,
            group_wait=self.group_wait,
            repeat_interval=self.repeat_interval,
        )


# How like a known label's name another one is that must be a slip. By judgement: one
# or two letters of eight.
_LIKE = 0.8


def check_routes(
    routes: Collection[RouteSettings],
    receivers: Collection[str],
    labels: Collection[str],
) -> None:
    """Every alert matches one, and every name exists or may be a tag's.

    Raises ValueError.
    """
    for number, route in enumerate(routes, 1):
        place = f"routes: route {number}"
        if route.receiver and route.receiver not in receivers:
            raise ValueError(
                f"{place}: no receiver is called {route.receiver}; "
                f"there are: {', '.join(sorted(receivers)) or 'none'}"
            )
        for name in route.named_labels():
            meant = get_close_matches(name, labels, 1, _LIKE)
            if name not in labels and meant:  # other names may be those of tags
                raise ValueError(
                    f"{place} (receiver {route.receiver}): no label is called {name}; "
                    f"is it {meant[0]}? there are: {', '.join(sorted(labels))}"
                )
    unused = set(receivers) - {route.receiver for route in routes}
    if unused:
        raise ValueError(
            f"routes: none leads to receiver {', '.join(sorted(unused))}:"
            " add a route for it, or remove it"
        )
    if list(routes)[-1].has_conditions:
        raise ValueError(
            "routes: the last one has conditions, so alerts may match none: "
            'end with one without (receiver = "" notifies nobody)'
        )
