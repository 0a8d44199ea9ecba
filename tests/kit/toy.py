"""A task that takes seconds: made-up sentences whose words give the class away, in a real task file."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pytest

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

# Short trials: one or two epochs, so that a search of six takes seconds.
QUICK_SPACE = """
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
"""


def write_task(folder: Path, *, rows: int = 320, seed: int = 0) -> Path:
    """Writes train.tsv, test.tsv and task.toml into a folder; gives the task file."""
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for name, count in (("train", rows), ("test", rows // 4)):
        lines = ["sentence\tlabel"]
        for row in range(count):
            label = row % 2
            words = list(generator.choice(FILLER, size=6)) + list(
                generator.choice((BAD, GOOD)[label], size=2)
            )
            lines.append(f"{' '.join(generator.permutation(words))} {row}\t{label}")
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n")
    task = folder / "task.toml"
    task.write_text(
        'name = "toy"\nmetric = "accuracy"\ntext = ["sentence"]\nlabel = "label"\nmax_length = 16\n'
        '[files]\ntrain = "train.tsv"\ntest = "test.tsv"\n'
    )
    (folder / "quick.toml").write_text(QUICK_SPACE)
    return task


def prunefront(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs the command as a user would, in a process of its own."""
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, env=environment(), timeout=200, check=False
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


def environment() -> dict[str, str]:
    """Ours, without what would send a search elsewhere."""
    return {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
