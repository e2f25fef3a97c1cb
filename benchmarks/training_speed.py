"""Tokens per second and memory of training, compared with plain trl on the same data, base model and number of steps.

Run: python -m benchmarks.training_speed [--base FOLDER_OR_GGUF] [--steps 10] (needs `make train`)

With an NVIDIA GPU both train on it in bf16; otherwise both on the CPU in float32. Kairos loads the base in 4 bits (NF4,
double quantisation), plain trl loads it whole; rank, batch, lengths and optimiser are equal. Each runs in its own
process.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from importlib import util
from pathlib import Path

from kairos.embedded.model import check_weights
from kairos.fine_tuning.training.process.job import TRAIN, VALIDATION, Example, Job, TrainingSettings, write_examples
from kairos.fine_tuning.training.trainer import hash_of_weights
from scripts.demo_learning import KNOWN, VERBS, DemoTask

CONVERT = """
import sys
from pathlib import Path
from kairos.fine_tuning.training.process import base_model
from kairos.fine_tuning.training.process.job import Job
base_model.load(Job.read(Path(sys.argv[1])))
print("{}")
"""
"""Converts the weights first; otherwise the memory of the first run would include reading the GGUF file."""
OURS = """
import json, resource, sys
from pathlib import Path
from kairos.fine_tuning.training.process import loop
from kairos.fine_tuning.training.process.job import Job, Progress
folder = Path(sys.argv[1])
metrics = loop.train(folder, Job.read(folder), Progress(folder), lambda: False)
memory = metrics["peak_gpu_bytes"] or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"tokens_per_s": metrics["tokens_per_s"], "memory": memory, "loss": metrics["train_loss"]}))
"""
PLAIN = """
import json, resource, sys, time
from pathlib import Path
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTTrainer
from kairos.fine_tuning.training.process import base_model, loop
from kairos.fine_tuning.training.process.job import TRAIN, Job, read_examples
folder = Path(sys.argv[1])
job = Job.read(folder)
where, gpu = base_model._folder(job), torch.cuda.is_available()
model = AutoModelForCausalLM.from_pretrained(where, dtype=torch.bfloat16 if gpu else torch.float32)
tokenizer = AutoTokenizer.from_pretrained(where)
base_model._set_pad_token(tokenizer)
arguments = loop._arguments(folder / "plain", job, int(sys.argv[2]), evaluate=False)
trainer = SFTTrainer(model=model, args=arguments, train_dataset=loop._dataset(read_examples(folder / TRAIN)),
                     processing_class=tokenizer, peft_config=loop._lora(job.settings))
began = time.monotonic()
trainer.train()
seconds = time.monotonic() - began
memory = torch.cuda.max_memory_allocated() if gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"tokens_per_s": round(trainer.state.num_input_tokens_seen / seconds, 1), "memory": memory,
                  "loss": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry][-1]}))
"""


def measured(program: str, folder: Path, steps: int) -> dict[str, float]:
    command = [sys.executable, "-c", program, str(folder), str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return json.loads(done.stdout.strip().splitlines()[-1])


def main(base: Path, steps: int) -> int:
    if util.find_spec("trl") is None:
        print("not run: the libraries of `make train` are not installed")
        return 0
    wishes = [DemoTask(verb, thing) for verb in VERBS for thing in KNOWN]
    examples = [Example([{"role": "user", "content": wish.prompt}], wish.right) for wish in wishes]
    settings = TrainingSettings(epochs=steps * 4 / len(examples), checkpoint_steps=10**6)
    print(f"{'':<10} {'tokens/s':>10} {'memory':>12} {'loss':>8}")
    with tempfile.TemporaryDirectory() as name:
        job = Job(base.name, str(base), hash_of_weights(base), str(Path(name) / "bases"), settings)
        folders = {title: Path(name) / title for title in ("ours", "plain trl")}
        for folder in folders.values():
            folder.mkdir()
            write_examples(folder / TRAIN, examples)
            write_examples(folder / VALIDATION, [])
            job.write(folder)
        measured(CONVERT, folders["ours"], steps)
        for program, (title, folder) in zip((OURS, PLAIN), folders.items(), strict=True):
            found = measured(program, folder, steps)
            memory = f"{found['memory'] / 2**20:,.0f} MB"
            print(f"{title:<10} {found['tokens_per_s']:>10.1f} {memory:>12} {found['loss'] or 0:>8.3f}", flush=True)
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", type=Path, default=None)
    parser.add_argument("--steps", type=int, default=10)
    arguments = parser.parse_args()
    raise SystemExit(main(arguments.base or check_weights(), arguments.steps))
