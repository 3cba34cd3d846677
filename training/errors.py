"""What ``training`` refuses, beyond the detector's own errors."""

from __future__ import annotations

from detector.errors import DetectorError


class TrainingError(DetectorError):
    """Nothing was written; the sentence says why and what to do."""
