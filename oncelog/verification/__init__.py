"""Invariants of the stored data: read back, judged, reported.

``log``, ``commands``, ``stream``, ``documents``, ``graph`` and ``clients`` are pure: they are given what was read and
return findings. ``reading`` reads, ``verifying`` puts the two together, ``history`` is what clients and faults write
down while they run. May import stores and below.
"""
