"""One module for each way to write records; `registry` lists them by name."""
