"""Bulk commands: one command, up to a million items, each with an end of its own. Pure, as all of the domain."""
