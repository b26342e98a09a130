"""Replay runs, wired to the ports of one process."""

from oncelog.archive.log_reader import LogReader
from oncelog.domain.signed_note import Signer
from oncelog.ports import Ports
from oncelog.replay_runs.run import ReplayRunner
from oncelog.settings import Settings


def assemble_replays(ports: Ports, *, signer: Signer | None = None) -> ReplayRunner:
    """Build the runner of replays; ``signer``: signs the roots of whole databases."""
    return ReplayRunner(ports.catalogue, LogReader(ports), ports.large_objects, signer=signer)


def signer_of(settings: Settings) -> Signer | None:
    """Return the signer that the settings name, or None; raises InputInvalid for a key that is none."""
    if settings.signing_key is None:
        return None
    return Signer.parse(f"oncelog/{settings.installation}", settings.signing_key.get_secret_value())
