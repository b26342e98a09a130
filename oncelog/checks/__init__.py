"""Consistency checks: the six invariants of an installation of any size, part by part, in bounded memory.

``scope`` names the part to check and ``plan`` divides it; ``collection`` reads records, stream and read models once,
and spills facts for each part; ``part`` folds a part's log and judges it; ``looks`` looks again before anything is
reported; ``run`` puts them together, for a workflow's activities and for ``oncelog verify``.
"""
