"""Starts a real llama.cpp server with random adapters, for the adapter contract.

    python -m tests.kit.real_llama_server FOLDER PORT

It is the server of the package xllamacpp with the embedded weights, without a key. The contract then runs on it with
KAIROS_TEST_LLAMACPP_URL=http://127.0.0.1:PORT/v1.
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path
from uuid import UUID

from kairos.embedded.model import API_KEY, SERVER, check_weights
from kairos.fine_tuning.adapters.adapters import GGUF
from kairos.tenancy import ProjectId
from tests.kit.lora_file import write_lora

BASE = "smol"
PROJECTS = (
    ProjectId(UUID("01a00000-0000-7000-8000-0000000000aa")),
    ProjectId(UUID("01a00000-0000-7000-8000-0000000000bb")),
)
USELESS = 9
"""Version of the adapter whose weights are zero."""


def adapter_folder(project: int, version: int) -> str:
    """Return an adapter's folder, relative to the folder of adapters."""
    return f"{PROJECTS[project]}/{BASE}/{version}"


def main(folder: str, port: str) -> None:
    files = []
    for project, version in ((0, 1), (0, 2), (1, 1), (0, USELESS)):
        file = Path(folder) / adapter_folder(project, version) / GGUF
        file.parent.mkdir(parents=True, exist_ok=True)
        files.append(str(write_lora(file, 10 * project + version, scale=0.0 if version == USELESS else 4.0)))
    os.environ[API_KEY] = ""
    sys.argv = [str(SERVER), str(check_weights()), "127.0.0.1", port, *files]
    runpy.run_path(str(SERVER), run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
