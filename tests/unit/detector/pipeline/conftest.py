"""The pipeline that these tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from detector.model.bundle import Bundle
from tests.fakes import fake_bundle
from tests.unit.detector.pipeline.stage import Stage


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return fake_bundle(tmp_path)


@pytest.fixture
def stage(bundle: Bundle) -> Stage:
    return Stage(bundle)
