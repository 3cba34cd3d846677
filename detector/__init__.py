"""streamwarden's daemon: metric streams from Kafka, one LSTM step a point, alerts by
webhook.

Data flows one way: ``ingest`` (bytes to columns) -> ``model`` (gather, step, scatter)
-> ``alerting`` (decide, outbox, webhook), with ``recovery`` beside it. ``pipeline``
knows the pure parts and the ports; ``app`` alone names the adapters.
"""

import os

__version__ = "0.1.0"

# onnxruntime reports usage to its maker unless told otherwise before it is imported; an
# operator's daemon talks to whom the operator named.
os.putenv("ORT_DISABLE_TELEMETRY", "1")
