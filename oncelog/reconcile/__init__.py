"""Reconciliation: finishes the incomplete work of ended workflows (docs/protocol.md).

An orphan is a command that has a record and no end, an event that may not be on the stream, a read model
that has an aggregate behind its log. Nothing here is decided again: a command is committed again from its record, a
range is published from the watermark on, a read model takes a state under its version. So everything is safe beside an
attempt that still lives; the query for its workflow and the grace period for recent objects only save work.
"""
