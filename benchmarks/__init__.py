"""The cost of a command, as ratios measured side by side in one run: ``make bench``, figures in ``README.md``."""
