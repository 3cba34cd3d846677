"""Compares daemons that are killed and cut off with one that nothing happens to."""
