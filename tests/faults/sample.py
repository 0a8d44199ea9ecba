"""A sample of the schedules of one fault, of all faults and moments, and those that failed once: prints what was wrong.

    python -m tests.faults.sample KIND=COUNT ...

Tests run it in a process of its own: a schedule forks it twice or more, and a fork of one that has imported torch costs
as much as what it does. Prints a JSON object a kind.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from tests.faults.every import in_memory
from tests.faults.kinds import make, own_schedules
from tests.kit.schedules import Outcome, Schedule, Study, hurried

GOLDEN = (5**0.5 - 1) / 2  # its multiples, modulo 1, lie far apart however many they are
CORPUS = Path(__file__).with_name("corpus.txt")


def corpus(kind: str) -> list[Schedule]:
    """Return the schedules that failed once: a line each, `kind fault at then`."""
    rows = [line.split("\t") for line in CORPUS.read_text().splitlines() if line and not line.startswith("#")]
    return [Schedule(fault, int(at), int(then)) for name, fault, at, then in rows if name == kind]


def spread(every: list[Schedule], count: int) -> list[Schedule]:
    """Return `count` of them, from the first to the last."""
    return [every[round(at * (len(every) - 1) / (count - 1))] for at in range(count)]


def varied(every: list[Schedule], count: int) -> list[Schedule]:
    """Return `count` of them: of as many faults as there are, one after the other, at moments that are far apart."""
    by_fault: dict[tuple[str, bool], list[Schedule]] = {}
    for each in every:
        by_fault.setdefault((each.fault, each.then > 0), []).append(each)
    faults = list(by_fault.values())
    chosen = [faults[number * max(len(faults), count) // count % len(faults)] for number in range(count)]
    return [those[int((0.5 + number * GOLDEN) % 1 * len(those))] for number, those in enumerate(chosen)]


def said(outcomes: list[Outcome]) -> list[str]:
    """Return a line for each that is wrong."""
    return [f"{each.schedule} ({each.point}): {'; '.join(each.wrong)}" for each in outcomes if each.wrong]


def try_sample(kind: str, count: int, studies: dict[str, Study]) -> dict[str, object]:
    """Try out a sample of a kind's schedules; return what was tried and what was wrong."""
    every = own_schedules(kind, studies)
    chosen = varied(every, count)
    outcomes = [studies[kind].try_out(each) for each in (*corpus(kind), *chosen)]
    faults = sorted({each.fault for each in chosen})
    return {"kind": kind, "faults": faults, "tried": len(outcomes), "wrong": said(outcomes)}


def main() -> None:
    """Try out what is asked for."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    asked = {kind: int(count) for kind, count in (each.split("=") for each in sys.argv[1:])}
    with hurried(), in_memory() as folder:
        studies = {name: make(name, folder) for name in {*asked, "complete"}}  # "stopped" is compared with it
        for kind, count in asked.items():
            print(json.dumps(try_sample(kind, count, studies)), flush=True)


if __name__ == "__main__":
    main()
