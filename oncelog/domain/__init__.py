"""The pure middle: what a command means, what an event is, how state follows from events.

No I/O, no clock, no randomness: time and identifiers come in as arguments. May import ``oncelog.errors`` only.
"""
