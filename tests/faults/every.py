"""Every schedule of one fault: prints the table of outcomes.

    python -m tests.faults.every [KIND ...] [--processes N] [--write]

Rows are the kinds of studies and the faults, columns the points and what came of them. Ends with 1 if anything was
lost, doubled, overwritten, left running, left over or ended badly. --write puts the rows into
docs/benchmarks/robustness.md.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
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
from tests.faults.written import PAGE, write_rows
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


def try_all(
    chosen: list[tuple[str, Schedule]], studies: dict[str, Study], *, processes: int
) -> Iterator[tuple[str, Outcome]]:
    """Try schedules, so many at once; the outcomes come as they are there."""
    _studies.clear()
    _studies.update(studies)
    with multiprocessing.get_context("fork").Pool(processes) as pool:
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


COLUMNS = ("study", "fault", "schedules", *PLACES, "first process ended with", *FINDINGS)


def rows_of(found: list[tuple[str, Outcome]]) -> list[list[str]]:
    """The schedules by kind and fault: at which points, how the first process ended, and what was wrong after all."""
    sorted_out: defaultdict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for kind, outcome in found:
        schedule = outcome.schedule
        fault = schedule.fault + (", both at once" if schedule.then else "")
        sorted_out[kind, fault].append(outcome)
    rows = []
    for (kind, fault), outcomes in sorted_out.items():
        places = Counter(place_of(each.point) for each in outcomes)
        ends = Counter(ENDS.get(each.code, str(each.code)) for each in outcomes)
        wrong = Counter(name for each in outcomes for name in {text.partition(":")[0] for text in each.wrong})
        said = ", ".join(f"{end}: {count}" for end, count in sorted(ends.items()))
        counts = [str(places[place]) for place in PLACES]
        rows.append(
            [kind, fault, str(len(outcomes)), *counts, said, *(str(wrong[name]) for name in FINDINGS)]
        )
    return rows


def main() -> int:
    """Try every schedule; return how many were wrong."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks/robustness.md")
    asked = parser.parse_args()
    names = asked.kinds or list(KINDS)
    if unknown := {*names} - {*KINDS}:
        parser.error(f"no kind {', '.join(sorted(unknown))}. There are: {', '.join(KINDS)}.")
    began, cpu_s = time.monotonic(), _cpu_s()
    with ExitStack() as stack:
        stack.enter_context(hurried())
        folder = stack.enter_context(in_memory())
        needed = {*names, "complete"} if "stopped" in names else {*names}  # with which it is compared
        studies = {name: make(name, folder) for name in KINDS if name in needed}
        chosen = [(name, schedule) for name in names for schedule in own_schedules(name, studies)]
        order = {(kind, schedule): at for at, (kind, schedule) in enumerate(chosen)}
        outcomes = _shown(try_all(chosen, studies, processes=asked.processes), count=len(chosen))
        found = sorted(outcomes, key=lambda each: order[each[0], each[1].schedule])
    wrong, rows = [each for _, each in found if each.wrong], rows_of(found)
    table = Table(*COLUMNS)
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 170).print(table)
    points = ", ".join(f"{name} {len(studies[name].points)}" for name in names)
    print(
        f"{len(found)} schedules, {len(wrong)} wrong, {time.monotonic() - began:.0f} s in {asked.processes} processes, "
        f"{(_cpu_s() - cpu_s) / len(found):.3f} s of processor time each; points of an undisturbed run: {points}"
    )
    if asked.write:
        write_rows(PAGE, COLUMNS, rows, kinds=list(KINDS))
    return len(wrong)


def _cpu_s() -> float:
    """Processor time of this process and of all that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


if __name__ == "__main__":
    sys.exit(min(main(), 1))
