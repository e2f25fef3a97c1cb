"""The engines' ports on 127.0.0.1: chosen once, kept in the data folder."""

from __future__ import annotations

import logging
import random
import socket

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
RANGE = (15_000, 30_000)
"""Below 32768, from where systems take ports for outgoing connections: one of those could take an engine's port
while it restarts. 30000 and up is what Kubernetes gives to node ports."""
TRIES = 200


def free_port(taken: set[int]) -> int:
    """A port that nobody listens on and that is not among those taken."""
    for _ in range(TRIES):
        port = random.randrange(*RANGE)
        if port not in taken and is_free(port):
            return port
    with socket.create_server((HOST, 0)) as probe:  # the range is full: whatever the system has
        return probe.getsockname()[1]


def is_free(port: int) -> bool:
    """Whether an engine could listen on it now."""
    with socket.socket() as probe:
        # As the engines do it: connections of an earlier run that linger are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen()
        except OSError:
            return False
    return True
