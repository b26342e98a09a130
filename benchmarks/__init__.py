"""What a command costs, as ratios measured side by side in one run: ``make bench``, figures in ``README.md``."""
