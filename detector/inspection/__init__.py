"""What the records of a topic are: for `inspect`, and a line of `check`."""
