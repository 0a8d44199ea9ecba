"""Every schedule of one fault, on all cores: `python -m tests.faults.every [KIND ...]`; prints the table of outcomes.

Rows are the kinds of studies and the faults, columns the points and what came of them. Ends with 1 if anything was
lost, doubled, overwritten, left running, left over or ended badly.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.faults.kinds import KINDS, make, own_schedules
from tests.kit.audits import KINDS as FINDINGS
from tests.kit.schedules import KILLED, Outcome, Schedule, Study, hurried

PLACES = ("worker", "driver's files", "commits")
ENDS = {0: "0", 1: "1", 2: "2", KILLED: "killed"}

_studies: dict[str, Study] = {}  # of the process that is forked


@contextmanager
def in_memory() -> Iterator[Path]:
    """A folder in memory, where there is one: a disk's flushes are slow, and nothing is measured."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        yield Path(folder)


def place_of(point: str) -> str:
    """Where a point is: in a trial's process, in the driver's files, or a commit."""
    return "worker" if "(worker)" in point else "commits" if point.startswith("commit") else "driver's files"


def try_all(chosen: list[tuple[str, Schedule]], studies: dict[str, Study]) -> Iterator[tuple[str, Outcome]]:
    """Try schedules, on all cores; the outcomes come as they are there."""
    _studies.clear()
    _studies.update(studies)
    with multiprocessing.get_context("fork").Pool(os.cpu_count()) as pool:
        yield from pool.imap_unordered(_try_out, chosen, chunksize=4)


def _try_out(chosen: tuple[str, Schedule]) -> tuple[str, Outcome]:
    kind, schedule = chosen
    try:
        return kind, _studies[kind].try_out(schedule)
    except Exception as error:  # an audit that cannot even read
        return kind, Outcome(schedule, "", wrong=[f"ended badly: {type(error).__name__}: {error}"])


def _shown(outcomes: Iterator[tuple[str, Outcome]], *, count: int) -> Iterator[tuple[str, Outcome]]:
    """Print what is wrong as it comes, and how far it is."""
    for number, (kind, each) in enumerate(outcomes, start=1):
        if each.wrong:
            print(f"{kind}, {each.schedule} ({each.point}): {'; '.join(each.wrong)}", flush=True)
        if number % 100 == 0:
            print(f"{number} of {count}", file=sys.stderr, flush=True)
        yield kind, each


def table_of(found: list[tuple[str, Outcome]]) -> Table:
    """The schedules by kind and fault: at which points, how the first process ended, and what was wrong after all."""
    rows: defaultdict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for kind, outcome in found:
        schedule = outcome.schedule
        fault = schedule.fault + (", both at once" if schedule.then else "")
        rows[kind, fault].append(outcome)
    table = Table("study", "fault", "schedules", *PLACES, "first process ended with", *FINDINGS)
    for (kind, fault), outcomes in rows.items():
        places = Counter(place_of(each.point) for each in outcomes)
        ends = Counter(ENDS.get(each.code, str(each.code)) for each in outcomes)
        wrong = Counter({text.partition(":")[0] for each in outcomes for text in each.wrong})
        table.add_row(
            kind, fault, str(len(outcomes)), *(str(places[place]) for place in PLACES),
            ", ".join(f"{end}: {count}" for end, count in sorted(ends.items())),
            *(str(wrong[kind]) for kind in FINDINGS),
        )  # fmt: skip
    return table


def main() -> int:
    """Try every schedule; return how many were wrong."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    names = sys.argv[1:] or list(KINDS)
    began = time.monotonic()
    with ExitStack() as stack:
        stack.enter_context(hurried())
        folder = stack.enter_context(in_memory())
        needed = {*names, "complete"}  # with which others are compared
        studies = {name: make(name, folder) for name in KINDS if name in needed}
        chosen = [(name, schedule) for name in names for schedule in own_schedules(name, studies)]
        order = {(kind, schedule): at for at, (kind, schedule) in enumerate(chosen)}
        outcomes = _shown(try_all(chosen, studies), count=len(chosen))
        found = sorted(outcomes, key=lambda each: order[each[0], each[1].schedule])
    wrong = [each for _, each in found if each.wrong]
    console = Console(width=None if sys.stdout.isatty() else 170)
    console.print(table_of(found))
    points = ", ".join(f"{name} {len(studies[name].points)}" for name in names)
    console.print(
        f"{len(found)} schedules, {len(wrong)} wrong, {time.monotonic() - began:.0f} s on {os.cpu_count()} cores; "
        f"points of an undisturbed run: {points}"
    )
    return len(wrong)


if __name__ == "__main__":
    sys.exit(min(main(), 1))
