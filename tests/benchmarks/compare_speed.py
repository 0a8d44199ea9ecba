"""How long `compare` and `report` take over 20 studies of 500 trials with curves of 32 steps, and the report's page.

    python -m tests.benchmarks.compare_speed

A command is timed from its start to its end, the page from its navigation until its front is drawn, in headless
Chromium where there is one. The records are made up, and written and gathered before.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.kit.browser import CHROMIUM, browse
from tests.kit.report import write_store

METHODS, SEEDS, TRIALS, STEPS = 2, 10, 500, 32
RUNS = 5
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0].startTime"  # ms


def seconds(*arguments: str | Path) -> tuple[float, str]:
    """Of a command, and what it printed."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "pipeline", *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return time.perf_counter() - started, done.stdout


def main() -> None:
    """Prints the seconds of each run."""
    with tempfile.TemporaryDirectory() as folder:
        root, page = Path(folder) / "store", Path(folder) / "page.html"
        names = write_store(root, seeds=SEEDS, trials=TRIALS, steps=STEPS)
        print(f"{METHODS * SEEDS} studies x {TRIALS} trials x {STEPS} steps", flush=True)
        for _ in range(RUNS):
            took, printed = seconds("compare", *names, "--store", root)
            seeds = [len(worth["seeds"]) for worth in json.loads(printed)["validation"]["worths"]]
            print(f"compare: {took:.2f} s (groups of {seeds} seeds)", flush=True)
        took, _ = seconds("report", *names, "--html", page, "--store", root)
        print(f"report: {took:.2f} s, a page of {page.stat().st_size / 1e6:.2f} MB", flush=True)
        if CHROMIUM is None:
            print("the page was not opened: there is no Chromium here")
            return
        for run in range(RUNS):
            with browse(Path(folder) / f"profile-{run}") as tab:
                drawn = tab.open(page, width=1280, height=900)
                print(
                    f"opened: readable after {tab.evaluate(PAINTED) / 1000:.2f} s, its front drawn after {drawn:.2f} s"
                )


if __name__ == "__main__":
    main()
