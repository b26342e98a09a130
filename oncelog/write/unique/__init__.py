"""Unique values on the write path: places are found and named, entries written, dead commands helped (V1 to V6)."""
