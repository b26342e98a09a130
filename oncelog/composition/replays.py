"""Replay runs, wired to the ports of one process."""

from oncelog.archive.log_reader import LogReader
from oncelog.ports import Ports
from oncelog.replays.run import ReplayRunner


def assemble_replays(ports: Ports) -> ReplayRunner:
    """Build the runner of replays."""
    return ReplayRunner(ports.catalogue, LogReader(ports), ports.large_objects)
