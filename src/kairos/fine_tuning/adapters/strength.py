"""Writes an adapter at a strength below 1 into its files, for every host alike.

An adapter adds `alpha / rank` times its product of matrices, so its strength is a factor of alpha: in PEFT's
adapter_config.json and in the metadata of the GGUF file (a key, its type as uint32, and its value, all little-endian).
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

GGUF, CONFIG = "adapter.gguf", "adapter_config.json"
KEY = b"adapter.lora.alpha"
FLOAT32 = 6
"""GGUF's number of the type."""
HEADER_BYTES = 65_536
"""The key is among the first: it precedes all tensors."""


class UnknownAlpha(ValueError):
    """The file has no alpha."""


def weaken(folder: Path, strength: float) -> None:
    """Multiply the effect of the adapter in this folder. Raises `UnknownAlpha`, `OSError`."""
    config = json.loads((folder / CONFIG).read_text())
    config["lora_alpha"] *= strength
    (folder / CONFIG).write_text(json.dumps(config, indent=2))
    with (folder / GGUF).open("r+b") as file:
        header = file.read(HEADER_BYTES)
        at = header.find(KEY) + len(KEY)
        if at < len(KEY) or struct.unpack_from("<I", header, at) != (FLOAT32,):
            raise UnknownAlpha(f"{folder / GGUF} has no {KEY.decode()}")
        (alpha,) = struct.unpack_from("<f", header, at + 4)
        file.seek(at + 4)
        file.write(struct.pack("<f", alpha * strength))
