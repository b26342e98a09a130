"""The work of ``oncelog-projector``: from the stream to read models.

``group`` is pure: a batch of messages becomes work per aggregate. ``fold`` makes states of it, ``apply`` writes them,
and ``loop`` is the loop around all. They know ports only; the composition root is ``oncelog.projector``.
"""
