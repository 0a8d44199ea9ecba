"""A task that takes seconds: made-up sentences whose words give the class away, in a real task file."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

from pipeline.model.silence import quiet

GOOD = ["bright", "warm", "gentle", "clever", "lively", "graceful"]
BAD = ["dull", "cold", "clumsy", "tired", "noisy", "bitter"]
FILLER = [
    "the",
    "story",
    "of",
    "a",
    "river",
    "and",
    "its",
    "people",
    "was",
    "in",
    "every",
    "scene",
    "some",
    "how",
]

# A cut by the method's own ranking, without refits, and recovery of one network: what a trial does least.
SHORT_CUT = """
[rank_by]
value = "own"
[reconstruct]
value = false
[recover]
value = "point"
"""
# Short trials: one or two epochs, so that a search of six takes seconds.
QUICK_SPACE = (
    SHORT_CUT
    + """
[tune_epochs]
low = 1
high = 2
default = 1
[recover_epochs]
low = 0
high = 1
default = 1
[rounds]
value = 1
[batch_size]
value = 16
"""
)
FIT_STEPS = 15
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def sentences(count: int, *, seed: int) -> list[tuple[str, int]]:
    """Texts of eight words, two of which give the class away."""
    generator = np.random.default_rng(seed)
    made = []
    for row in range(count):
        label = row % 2
        words = [*generator.choice(FILLER, size=6), *generator.choice((BAD, GOOD)[label], size=2)]
        made.append((" ".join(generator.permutation(words)), label))
    return made


def write_task(folder: Path, *, rows: int = 320, seed: int = 0) -> Path:
    """Writes train.tsv, test.tsv and task.toml into a folder; gives the task file."""
    folder.mkdir(parents=True, exist_ok=True)
    made = sentences(rows + rows // 4, seed=seed)
    for name, part in (("train", made[:rows]), ("test", made[rows:])):
        lines = ["sentence\tlabel", *(f"{text} {row}\t{label}" for row, (text, label) in enumerate(part))]
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n")
    task = folder / "task.toml"
    task.write_text(
        'name = "toy"\nmetric = "accuracy"\ntext = ["sentence"]\nlabel = "label"\nmax_length = 16\n'
        '[files]\ntrain = "train.tsv"\ntest = "test.tsv"\n'
    )
    (folder / "quick.toml").write_text(QUICK_SPACE)
    return task


def write_model(folder: Path) -> Path:
    """Writes a BERT that has learned the task: 3 layers, 4 heads and 64 neurons each, 32 wide.

    Its steps take a tenth of the built-in one's, and the low learning rates of a pretrained network do.
    """
    model, tokenizer = fitted_model()
    with quiet():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@cache
def fitted_model() -> tuple[BertForSequenceClassification, BertTokenizer]:
    vocabulary = {word: number for number, word in enumerate((*SPECIAL, *FILLER, *GOOD, *BAD))}
    tokenizer = BertTokenizer(vocab=vocabulary, do_lower_case=True, model_max_length=32)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=3, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=32, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = BertForSequenceClassification(config)
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
        for seed in range(FIT_STEPS):
            rows, labels = zip(*sentences(32, seed=seed), strict=True)
            batch = tokenizer(list(rows), padding=True, return_tensors="pt")
            model(**batch, labels=torch.tensor(labels)).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return model.eval(), tokenizer


def small(task: Path) -> list[str | Path]:
    """The options of a small search of the task: short trials of a model that is written beside it."""
    return [
        "--task", task, "--space", task.parent / "quick.toml", "--model", write_model(task.parent / "model"),
    ]  # fmt: skip


def prunefront(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs the command as a user would, in a process of its own, on one core."""
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        env=environment(),
        timeout=200,
        check=False,
        preexec_fn=on_one_core,
    )


def prunefront_here(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command in this process, where torch is imported already.

    A search needs the fixture `inline` or `one_ray`.
    """
    from pipeline.cli.app import run

    with (
        pytest.MonkeyPatch.context() as patch,
        redirect_stdout(StringIO()) as out,
        redirect_stderr(StringIO()) as err,
    ):
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        code = run([str(argument) for argument in arguments])
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def command(*arguments: str | Path) -> list[str]:
    """The command line, for a process that a test handles itself."""
    return [sys.executable, "-m", "pipeline", *map(str, arguments)]


def on_one_core() -> None:
    """For a child between fork and exec: it may use one core, so that its Ray has one process for trials, not two."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[os.getpid() % len(cores)]})


def environment() -> dict[str, str]:
    """Ours, without what would send a search elsewhere."""
    return {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
