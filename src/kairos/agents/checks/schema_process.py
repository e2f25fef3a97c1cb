"""The process in which a costly schema is applied: a question on standard input, the faults on standard output."""

from __future__ import annotations

import json
import math
import resource
import sys

from kairos.agents.checks.json_schema import SECONDS, SchemaCheckFailed, faults_of

MEMORY_BYTES = 1 << 30


def main() -> None:
    """Killed by whoever started it when it takes too long; the limits hold even if that one dies first."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    seconds = math.ceil(SECONDS) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    question = json.load(sys.stdin)
    try:
        reply = {"faults": faults_of(question["schema"], question["value"])}
    except SchemaCheckFailed as failure:
        reply = {"failure": str(failure)}
    json.dump(reply, sys.stdout)


if __name__ == "__main__":
    main()
