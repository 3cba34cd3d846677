from pathlib import Path

#: One partition of a local store, as the last version with schema 8 wrote it.
SCHEMA_8 = Path(__file__).parent / "schema_8"
#: The same for schema 9: two streams, one of them in an incident.
SCHEMA_9 = Path(__file__).parent / "schema_9"
#: The same for schema 10, with a counter, labels and a held point.
SCHEMA_10 = Path(__file__).parent / "schema_10"
