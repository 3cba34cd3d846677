from pathlib import Path

#: One partition of a local store, as the last version with schema 7 wrote it.
SCHEMA_7 = Path(__file__).parent / "schema_7"
