"""From the stream to read models: what ``oncelog-projector`` does.

``sorting`` is pure: a batch of messages becomes work per aggregate. ``folding`` makes states of it, ``projecting``
writes them, ``projecting`` is the loop around all, and ``main`` the composition root. All but ``main`` know ports only.
"""
