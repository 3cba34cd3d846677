"""The demo: a real Kafka, lifelike metrics with faults, a receiver, and its bundle."""
