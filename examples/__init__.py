"""Programs around Oncelog: the demo, and what users ask for first."""
