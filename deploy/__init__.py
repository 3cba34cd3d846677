"""What runs the daemon, and what shows it."""
