"""The training process: `python -m kairos.fine_tuning.training.process FOLDER`. SIGTERM stops it after its step.

It needs no daemon. After a crash, it can be restarted on the same folder and resumes from its last checkpoint.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
from importlib import metadata
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
# By default, waiting threads spin, which slows a step many times if other work uses the same cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# bitsandbytes imports PyTorch's compiler, which takes about 1 s and is not used here.
os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")

from kairos.fine_tuning.training.process.job import (
    BASE_CONFIG,
    EXIT_CANCELLED,
    EXIT_REFUSED,
    GGUF,
    RESULT,
    Job,
    Progress,
    TrainingPhase,
    candidate_folders,
    write_whole,
)

LIBRARIES = ("torch", "transformers", "peft", "trl", "bitsandbytes", "accelerate", "gguf")


def main(folder: Path) -> int:
    job, progress = Job.read(folder), Progress(folder)
    # These imports take 8 s of CPU time: a job that cannot be read fails before them.
    from kairos.fine_tuning.training.process import gguf_lora, loop

    signals: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: signals.append(number))
    try:
        metrics = loop.train(folder, job, progress, lambda: bool(signals))
        progress.report(TrainingPhase.SAVING)
        _finish(folder, metrics)
    except loop.Cancelled:
        progress.report(TrainingPhase.CANCELLED)
        return EXIT_CANCELLED
    except (loop.NothingToTrain, gguf_lora.CannotConvert) as error:
        progress.report(TrainingPhase.FAILED, error=str(error))
        return EXIT_REFUSED
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        progress.report(
            TrainingPhase.FAILED, error="the disk is full; free some space and start the run again to resume it"
        )
        return EXIT_REFUSED
    progress.report(TrainingPhase.DONE)
    return 0


def _finish(folder: Path, metrics: dict) -> None:
    """Convert the candidates."""
    from kairos.fine_tuning.training.process import gguf_lora

    config = json.loads((folder / BASE_CONFIG).read_text())
    for candidate in candidate_folders(folder):
        metrics["tensors"] = gguf_lora.convert(candidate, config, candidate / GGUF)
    versions = {name: metadata.version(name) for name in LIBRARIES}
    write_whole(folder / RESULT, json.dumps({"metrics": metrics, "versions": versions}, indent=2))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
