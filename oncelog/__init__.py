"""Oncelog: an event-sourced CQRS command pipeline on durable execution.

Rooms, from the outside in; each may import only what stands below it:

- ``cli``, ``client``: what an operator types and an application imports
- ``pipeline``: the command path's protocol, written against ports
- ``projections`` and ``stores``: events to read models; one file per server
- ``ports``: the few protocols the rest is written against
- ``domain``: pure: commands, events, decisions, identifiers
- ``errors``: the one tree of errors
"""
