"""What survives the process: pages of streams, stamped with their offsets."""
