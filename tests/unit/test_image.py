"""What the image carries: the daemon, and neither training nor a reader of files."""

from __future__ import annotations

import re
from pathlib import Path

from detector.cli.command_group import OPTIONAL_MODULES

ROOT = Path(__file__).parents[2]


def test_the_daemons_lock_pins_no_module_of_an_extra() -> None:
    lock = (ROOT / "requirements/daemon.txt").read_text()
    pinned = set(re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE))
    assert "onnxruntime" in pinned
    assert not pinned & OPTIONAL_MODULES


def test_the_image_gets_the_daemons_package_only() -> None:
    copied = re.findall(
        r"^COPY (\w+) ", (ROOT / "Dockerfile").read_text(), re.MULTILINE
    )
    allowed = (ROOT / ".dockerignore").read_text().split()
    assert copied == ["detector"]
    assert "!training" not in allowed
