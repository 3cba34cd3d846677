"""streamwarden's daemon: metrics from Kafka, one step of a model a point, alerts out.

A point goes through ``ingest`` and ``pipeline``, where ``model`` scores it and
``alerting`` decides; ``notify`` delivers what follows, and ``recovery`` keeps the
state. ``compose`` makes the parts of a daemon from its settings, and ``app`` runs them.
"""

import os

__version__ = "0.1.0"

# onnxruntime reports usage to its maker unless this is set before it is imported. The
# daemon talks only to those that its operator names.
os.putenv("ORT_DISABLE_TELEMETRY", "1")
