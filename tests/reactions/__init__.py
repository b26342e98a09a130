"""Reactions: in memory, and on real servers whose reactor is killed."""
