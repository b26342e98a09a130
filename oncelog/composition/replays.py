"""Replay runs, wired to the ports of one process."""

from oncelog.ports import Ports
from oncelog.replays.run import ReplayRunner
from oncelog.replays.source import SlotSource


def assemble_replays(ports: Ports) -> ReplayRunner:
    """Build the runner of replays."""
    return ReplayRunner(ports.catalogue, SlotSource(ports.catalogue, ports.event_log), ports.large_objects)
