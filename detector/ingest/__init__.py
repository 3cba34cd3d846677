"""From a topic's bytes or a file's rows to columns: stream, event time, values."""
