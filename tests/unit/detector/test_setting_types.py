"""What the type of a setting says: a secret, a list, a pattern."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field, SecretStr

from detector.setting_types import compiled, holds_secret, is_plain_secret


class Token(BaseModel):
    value: SecretStr


class Receiver(BaseModel):
    tokens: tuple[Token, ...]


class SecretString(Enum):
    """Not a secret, in spite of its name."""

    SHOWN = "shown"


@pytest.mark.parametrize(
    ("annotation", "holds", "plain"),
    [
        (SecretStr, True, True),
        (SecretStr | None, True, True),
        (Mapping[str, SecretStr], True, False),
        (Annotated[SecretStr | None, Field()], True, False),
        (tuple[Receiver, ...], True, False),
        (Receiver | None, True, False),
        (str | None, False, False),
        (SecretString, False, False),
        (Literal["SecretStr"], False, False),
    ],
)
def test_a_secret_is_found_by_its_type_wherever_it_is(
    annotation: object, holds: bool, plain: bool
) -> None:
    assert (holds_secret(annotation), is_plain_secret(annotation)) == (holds, plain)


def test_a_faulty_pattern_is_named_with_what_to_do() -> None:
    assert compiled("^a+").match("aa")
    with pytest.raises(ValueError, match=r"'\(a' is not a regular expression .*escape"):
        compiled("(a")
