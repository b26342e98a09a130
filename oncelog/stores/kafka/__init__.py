"""Kafka: the stream of events, written in order and read by projectors and verification."""
