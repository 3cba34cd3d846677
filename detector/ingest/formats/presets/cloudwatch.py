"""A CloudWatch metric stream, output format "json".

    {"metric_stream_name": "all", "account_id": "1234", "region": "us-east-1",
     "namespace": "AWS/EC2", "metric_name": "DiskWriteOps", "dimensions":
     {"InstanceId": "i-1"}, "timestamp": 1611929698000, "value": {"count": 3.0,
     "sum": 20.0, "max": 18.0, "min": 0.0}, "unit": "Seconds"}

The value is a set of statistics, and the average is its sum by its count.

Source: Amazon CloudWatch user guide, "metric stream output in JSON format".
"""

from __future__ import annotations

from detector.ingest.json_objects.mapping import RecordMapping
from detector.ingest.json_objects.preset import TEXT, TEXT_OR_NUMBER, Preset

PRESETS = (
    Preset(
        name="cloudwatch",
        shape={"metric_name": TEXT, "namespace": TEXT, "timestamp": TEXT_OR_NUMBER},
        one_of=("value",),
        mapping=RecordMapping(
            timestamp=("timestamp",),
            stream=("{namespace}",),
            tags=("dimensions", "account_id", "region"),
            labels=("namespace", "unit"),
            name=("{metric_name}",),
            value=("value",),
        ),
    ),
)
