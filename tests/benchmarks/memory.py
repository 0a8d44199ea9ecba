"""Peak memory of a trial against that of plain fine-tuning; and what a used process keeps from trial to trial."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from pipeline.study.records import Params
from pipeline.trial.training.process import one_of_many_tasks
from pipeline.trial.trial import run_trial
from tests.benchmarks import subject
from tests.benchmarks.pairs import Row, compare

NAME = "memory"
TRAIN = 320
MEGABYTE = 2**20


def measure(*, quick: bool) -> Iterator[Row]:
    """Rows for the table. The ratios are of megabytes, shown as if they were milliseconds: hence / 1000."""
    for level in ("block", "head"):
        row = compare(
            NAME,
            f"snip trial, {level} level, peak",
            turn=lambda level=level: _peak(level),
            against=lambda: _peak("plain"),
            base="plain fine-tuning",
            pairs=1 if quick else 3,
            warm=False,
        )
        yield Row(**{**vars(row), "base": row.base.replace(" ms", " MB")})
    many = 12 if quick else 100
    first, last = _ask(f"many:{many}")
    what = f"a process after {many} trials / after {many // 4}"
    yield Row(NAME, what, last / first, last / first, last / first, 1, f"{first:,.0f} MB")


def _peak(what: str) -> float:
    return _ask(what)[0] / 1_000


def _ask(what: str) -> list[float]:
    command = [sys.executable, "-m", "tests.benchmarks", "--peak", what]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    return [float(number) for number in run.stdout.split()]


def peak(what: str) -> None:
    """What the processes run: prints their peak in megabytes, or what they hold early and late."""
    torch.set_num_threads(1)
    given = subject.inputs("snip", train=TRAIN)
    if what == "plain":
        model, anatomy = subject.network()
        subject.steps_s(model, anatomy, given.data.train, steps=TRAIN // subject.BATCH)
    elif what.startswith("many:"):
        _many(given, int(what.removeprefix("many:")))
        return
    else:
        _run(given, subject.defaults("snip", level=what, tune_epochs=1.0, recover_epochs=1.0))
    if subject.GPU:
        print(torch.cuda.max_memory_allocated() / MEGABYTE)
    else:
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024)


def _many(given: object, count: int) -> None:
    small = subject.inputs("snip", train=2 * subject.BATCH)
    params = subject.defaults("snip", tune_epochs=1.0, recover_epochs=1.0)
    held = []
    for _ in range(count):
        with one_of_many_tasks(1):  # as in a search's workers
            _run(small, params)
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        held.append(pages * resource.getpagesize() / MEGABYTE)
    print(held[count // 4 - 1], held[-1])


def _run(given: object, params: Params) -> None:
    run_trial(given, subject.job(params), lambda _: None)  # type: ignore[arg-type]
