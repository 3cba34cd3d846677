"""From scores to decisions: thresholds, incidents, and the words for them."""
