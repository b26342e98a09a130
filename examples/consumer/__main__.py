"""``python -m examples.consumer products.sqlite``: keep a table of all instances from the stream, until Ctrl-C."""

import contextlib
import os
import sys
from pathlib import Path

from examples.consumer.checkpoint import Checkpoint
from examples.consumer.follow import follow

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m examples.consumer DATABASE")
    servers = os.environ.get("ONCELOG_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9092")
    with Checkpoint(Path(sys.argv[1])) as checkpoint, contextlib.suppress(KeyboardInterrupt):
        follow(servers, os.environ.get("TOPIC", "instance_events"), checkpoint)
