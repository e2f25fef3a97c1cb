#!/usr/bin/env bash
# Install torch into .venv. PyPI's build for Linux includes CUDA (4 GB). Without an NVIDIA GPU, PyTorch's own index with
# the CPU build is tried first, and PyPI is the fallback.
#   TORCH_INDEX=URL  use this index, regardless of the machine
#   TORCH_INDEX=     use PyPI
# In CI (CI=true), PyPI is used unless TORCH_INDEX names an index. `torch.sh --which` only prints the choice.
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

# One request with a time limit, as pip would try five times for 15 s each.
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
        pip "torch==$version"  # installs the dependencies from PyPI
        echo "torch $version from $index"
        exit 0
    fi
    echo "falling back to PyPI for torch" >&2
fi
pip "torch==$version"
echo "torch $version from PyPI"
