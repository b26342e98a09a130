"""Replay runs: the whole log, or a part of it, folded anew by many workers, for digests, exports and rebuilds.

``request`` defines the run, ``plan`` divides it into partitions, ``partition`` folds one, ``digests`` joins them.
"""
