"""How messages are packed into records, one file each."""
