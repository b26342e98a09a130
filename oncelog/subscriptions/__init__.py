"""Subscriptions: the events of a scope, each aggregate's in order, without gaps or duplicates.

May import ports and the layers below, never a store.
"""
