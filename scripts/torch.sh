#!/usr/bin/env bash
# Install torch into .venv. PyPI's build for Linux brings CUDA (4 GB); where no NVIDIA GPU is found, PyTorch's own index
# with the build for CPUs is tried first, and PyPI serves where that cannot be reached.
#   TORCH_INDEX=URL  take it from this index, whatever the machine has
#   TORCH_INDEX=     take it from PyPI
# In CI (CI=true) it comes from PyPI unless TORCH_INDEX names an index. `torch.sh --which` prints the choice and does
# nothing else.
set -euo pipefail
version=2.13.0
python=${PYTHON_BIN:-$(cd "$(dirname "$0")/.." && pwd)/.venv/bin/python}
cpu_index=https://download.pytorch.org/whl/cpu
wait_s=5

has_nvidia_gpu() {
    [ -e /dev/nvidiactl ] || [ -d /proc/driver/nvidia ] || { command -v nvidia-smi > /dev/null && nvidia-smi -L > /dev/null 2>&1; }
}

chosen_index() {
    if [ -n "${TORCH_INDEX+set}" ]; then echo "$TORCH_INDEX"; return; fi
    if [ "$(uname -s)" != Linux ] || [ "${CI:-}" = true ] || has_nvidia_gpu; then return; fi
    echo "$cpu_index"
}

# One request with a limit: pip by itself would try five times, and wait 15 s each time.
answers() {
    "$python" - "$1" "$wait_s" <<'END'
import sys, urllib.request
try:
    urllib.request.urlopen(sys.argv[1].rstrip("/") + "/torch/", timeout=float(sys.argv[2])).close()
except (OSError, ValueError) as error:
    sys.exit(f"{sys.argv[1]} does not answer: {error}")
END
}

pip() { "$python" -m pip --disable-pip-version-check install --quiet "$@"; }

index=$(chosen_index)
if [ "${1:-}" = --which ]; then echo "${index:-PyPI}"; exit 0; fi
if [ -n "$index" ]; then
    if answers "$index" && pip --no-deps --retries 0 --timeout 60 --index-url "$index" "torch==$version"; then
        pip "torch==$version"  # it is there: this brings what it depends on, from PyPI
        echo "torch $version from $index"
        exit 0
    fi
    echo "torch comes from PyPI instead" >&2
fi
pip "torch==$version"
echo "torch $version from PyPI"
