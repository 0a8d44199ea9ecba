"""Random schedules with two faults, until time is up: `python -m tests.faults [SEED] [SECONDS]`.

What fails is printed with its seed, and written to corpus.txt, from which the tests try it first.
"""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

from tests.faults.every import in_memory
from tests.faults.kinds import KINDS, make
from tests.kit.schedules import hurried

SECONDS = 120.0
CORPUS = Path(__file__).with_name("corpus.txt")


def main() -> int:
    """Try schedules; return how many failed."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else random.randrange(2**32)
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else SECONDS
    print(f"seed {seed}, {seconds:.0f} s", flush=True)
    tried = failed = 0
    with hurried(), in_memory() as folder:
        studies = {name: make(name, folder) for name in KINDS}
        generator = random.Random(seed)
        drawn = {name: study.pairs(generator) for name, study in studies.items()}
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for name, study in studies.items():
                schedule = next(drawn[name])
                outcome = study.try_out(schedule)
                tried += 1
                if outcome.wrong:
                    failed += 1
                    print(f"seed {seed}: {name}, {schedule} ({outcome.point}): {'; '.join(outcome.wrong)}")
                    with CORPUS.open("a") as file:
                        file.write(f"{name}\t{schedule.fault}\t{schedule.at}\t{schedule.then}\n")
    print(f"{tried} schedules, {failed} failed")
    return failed


if __name__ == "__main__":
    sys.exit(min(main(), 1))
