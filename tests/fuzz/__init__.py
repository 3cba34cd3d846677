"""Mutated records for every format: see ``__main__`` and CONTRIBUTING.md."""
