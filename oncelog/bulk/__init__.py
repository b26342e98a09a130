"""Bulk commands, step by step: open, then chunk by chunk bind, persist, publish, project; then report.

Every step may be repeated at any time, beside attempts that are still alive. May import the same modules as the
pipeline.
"""
