"""Invariants of the stored data: read back, judged, reported.

``log``, ``commands``, ``stream``, ``shown`` and ``clients`` are pure: they take the objects read and return findings.
``reading`` reads, ``audit`` puts the checks together, ``history`` is the record that clients and faults write while
they run. May import stores and below.
"""
