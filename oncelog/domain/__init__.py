"""The pure middle: commands, events, and how state follows from events.

No I/O, no clock, no randomness: time and identifiers come in as arguments. May import ``oncelog.errors`` only.
"""
