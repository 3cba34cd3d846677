"""A daemon that is killed, starved and cut off, against one that nothing happened to."""
