"""The bundle, the graph's runtime, and the table that holds every stream's state."""
