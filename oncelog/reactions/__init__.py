"""Reactions: functions from an event to commands, each command started exactly once.

May import ports and the layers below, never a store.
"""
