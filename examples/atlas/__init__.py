"""``make demo``: real input through the ordinary commands, a definition that evolves meanwhile, and questions.

``data`` is what is loaded, ``classes`` what it is defined as; ``quick`` and ``full`` are the two demos.
"""
