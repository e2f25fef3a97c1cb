"""What runs in a model's process: `python model_server.py WEIGHTS HOST PORT [ADAPTER…]`, its key in the environment.

llama.cpp's own server: /v1/chat/completions with usage and streaming, /health, /slots. It imports nothing of Kairos,
so that the process stays small.
"""

import os
import sys
import threading

try:
    from xllamacpp import CommonAdapterLoraInfo, CommonParams, Server  # pyright: ignore[reportAttributeAccessIssue] - a module without types
except ImportError as error:  # it links to libraries of the system, which minimal images leave out
    sys.exit(f"llama.cpp cannot be loaded: {error}. Install that library (Debian: apt-get install libgomp1)")

SLOTS = 2
SLOT_CONTEXT = 2048
"""What the model was trained on; more gives nonsense."""
ALIAS = "smollm2-135m"


def main(weights: str, host: str, port: str, *adapters: str) -> None:
    server = Server(_parameters(weights, host, int(port), adapters))
    print(f"serving at {server.listening_address}", flush=True)
    threading.Event().wait()  # until a signal: SIGTERM ends the process as it does any other


def _parameters(weights: str, host: str, port: int, adapters: tuple[str, ...]) -> CommonParams:
    parameters = CommonParams()
    parameters.model.path = weights
    parameters.model_alias = {ALIAS}
    parameters.hostnames = [host]
    parameters.port = port
    parameters.api_keys = [os.environ.pop("KAIROS_MODEL_API_KEY")]
    parameters.n_ctx = SLOTS * SLOT_CONTEXT
    parameters.n_parallel = SLOTS
    # Keys and values stay in f16: in q8_0 they take 45 MB less, and this model answered nonsense.
    parameters.n_ubatch = 128
    # Two threads on a busy box with two cores fell to 1 token/s; one held 64 to 89.
    parameters.cpuparams.n_threads = 1
    parameters.cpuparams_batch.n_threads = 1
    # A cache of past prompts in memory, 8 GB by default.
    parameters.cache_ram_mib = 0
    parameters.cache_idle_slots = False
    parameters.ui = False
    parameters.endpoint_slots = bool(adapters)
    # Asleep until a request wakes one: what a request does not name must not answer it.
    parameters.lora_adapters = [CommonAdapterLoraInfo(path, 0.0) for path in adapters]
    parameters.verbosity = 2
    return parameters


if __name__ == "__main__":
    main(*sys.argv[1:])
