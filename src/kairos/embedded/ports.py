"""Ports of the engines on 127.0.0.1, chosen once and stored in the data folder."""

from __future__ import annotations

import logging
import random
import socket

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
RANGE = (15_000, 30_000)
"""Below 32768, where ports of outgoing connections begin: such a connection could take an engine's port during its
restart. Kubernetes uses ports from 30000 for node ports."""
TRIES = 200


def free_port(taken: set[int]) -> int:
    """A free port that is not in `taken`."""
    for _ in range(TRIES):
        port = random.randrange(*RANGE)
        if port not in taken and is_free(port):
            return port
    with socket.create_server((HOST, 0)) as probe:  # the range is full: any port of the system
        return probe.getsockname()[1]


def is_free(port: int) -> bool:
    """Whether an engine can listen on the port now."""
    with socket.socket() as probe:
        # As the engines do, so that lingering connections of an earlier run do not block the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen()
        except OSError:
            return False
    return True
