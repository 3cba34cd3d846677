"""The trained detector: its bundle, the engine that runs it, and local time."""
