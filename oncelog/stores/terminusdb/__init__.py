"""TerminusDB, where the graph lies if one is configured: a thin adapter over its HTTP interface.

``server`` is the only file that knows HTTP, ``woql`` the only one that knows the form of its queries.
"""

from oncelog.stores.terminusdb.graph import TerminusGraph
from oncelog.stores.terminusdb.server import TerminusServer

__all__ = ["TerminusGraph", "TerminusServer"]
