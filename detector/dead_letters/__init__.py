"""What cannot be used, kept for a person: in a file, and in a topic of Kafka."""
