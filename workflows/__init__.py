"""Durable stories: the order of steps, retries and time. No business rules, no I/O. May import ``activities``."""
