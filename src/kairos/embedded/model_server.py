"""Server process of the embedded model: `python model_server.py WEIGHTS HOST PORT SLOTS [ADAPTER…]`.

The key is in the environment. Runs llama.cpp's server: /v1/chat/completions with usage and streaming, /health, /slots.
It imports nothing of Kairos, to keep the process small.
"""

import os
import sys
import threading

try:
    from xllamacpp import CommonAdapterLoraInfo, CommonParams, Server  # pyright: ignore[reportAttributeAccessIssue] - a module without types
except ImportError as error:  # it needs system libraries that minimal images do not have
    sys.exit(f"llama.cpp cannot be loaded: {error}. Install that library (Debian: apt-get install libgomp1)")

SLOT_CONTEXT = 2048
"""Context size with which the model was trained; output degrades beyond it."""
ALIAS = "smollm2-135m"


def main(weights: str, host: str, port: str, slots: str, *adapters: str) -> None:
    server = Server(_parameters(weights, host, int(port), int(slots), adapters))
    print(f"serving at {server.listening_address}", flush=True)
    threading.Event().wait()  # until a signal ends the process


def _parameters(weights: str, host: str, port: int, slots: int, adapters: tuple[str, ...]) -> CommonParams:
    parameters = CommonParams()
    parameters.model.path = weights
    parameters.model_alias = {ALIAS}
    parameters.hostnames = [host]
    parameters.port = port
    parameters.api_keys = [os.environ.pop("KAIROS_MODEL_API_KEY")]
    parameters.n_ctx = slots * SLOT_CONTEXT
    parameters.n_parallel = slots
    # The KV cache stays in f16: q8_0 saves 45 MB, but the output of this model becomes unusable.
    parameters.n_ubatch = 128
    # On a busy machine with two cores, two threads dropped to 1 token/s; one thread kept 64 to 89.
    parameters.cpuparams.n_threads = 1
    parameters.cpuparams_batch.n_threads = 1
    # No in-memory cache of prompts, which would be up to 8 GB by default.
    parameters.cache_ram_mib = 0
    parameters.cache_idle_slots = False
    parameters.ui = False
    parameters.endpoint_slots = bool(adapters)
    # Scale 0 by default: only adapters that a request names may affect it.
    parameters.lora_adapters = [CommonAdapterLoraInfo(path, 0.0) for path in adapters]
    parameters.verbosity = 2
    return parameters


if __name__ == "__main__":
    main(*sys.argv[1:])
