"""streamwarden's daemon: metric streams from Kafka, one LSTM step a point, alerts by webhook.

Data flows one way: ``ingest`` (bytes to columns) -> ``model`` (gather, step, scatter) -> ``alerting`` (decide, outbox,
webhook), with ``recovery`` beside it. ``pipeline`` knows the pure parts and the ports; ``app`` alone names the adapters.
"""

__version__ = "0.1.0"
