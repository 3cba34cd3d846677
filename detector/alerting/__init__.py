"""From scores to decisions, and from decisions to delivered notifications."""
