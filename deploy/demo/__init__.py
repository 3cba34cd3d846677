"""The demo: an embedded Kafka, lifelike metrics with announced faults, a receiver, and
the bundle it runs on.
"""
