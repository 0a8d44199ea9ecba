"""make bench: one table of ratios with their spreads, each measured in pairs on this machine. Nothing is asserted.

    python -m tests.benchmarks [--quick] [--only NAME ...] [--json FILE] [--profile FILE] [--before FOLDER]

A benchmark runs in a process of its own, with one thread. `--before` names a checkout of an earlier commit: its own
benchmarks then run, too, and their ratios stand beside ours. `against_chance` is apart: it takes long.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BENCHMARKS = {
    "step": "step_time",
    "denormals": "denormals",
    "data": "data_path",
    "curve": "curve_cost",
    "recovery": "cut_network",
    "trial": "whole_trial",
    "sweep": "sweep_overhead",
    "packing": "packing",
    "memory": "memory",
}


def main() -> None:
    """Measures, then prints and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer pairs: minutes instead of half an hour")
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS))
    parser.add_argument("--json", type=Path, help="write the rows there")
    parser.add_argument("--profile", type=Path, help="write torch.profiler's tables of a step there, and end")
    parser.add_argument("--before", type=Path, help="a checkout to compare with")
    for inner in ("--into", "--body", "--peak"):  # of the processes that this one starts
        parser.add_argument(inner, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.body:
        importlib.import_module("tests.benchmarks.packing").body(int(chosen.body))
    elif chosen.peak:
        importlib.import_module("tests.benchmarks.memory").peak(chosen.peak)
    elif chosen.into:
        _measure(chosen.only[0], Path(chosen.into), quick=chosen.quick)
    elif chosen.profile:
        _one_thread()
        chosen.profile.write_text(importlib.import_module("tests.benchmarks.profile_step").tables())
        print(chosen.profile.read_text())
    else:
        _report(chosen)


def _one_thread() -> None:
    importlib.import_module("torch").set_num_threads(1)


def _measure(name: str, into: Path, *, quick: bool) -> None:
    _one_thread()
    rows = []
    for row in importlib.import_module(f"tests.benchmarks.{BENCHMARKS[name]}").measure(quick=quick):
        rows.append(asdict(row))
        into.write_text(json.dumps(rows))


def _rows(name: str, checkout: Path, *, quick: bool) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        into = Path(folder) / "rows.json"
        command = [sys.executable, "-m", "tests.benchmarks", "--only", name, "--into", str(into)]
        command += ["--quick"] if quick else []
        subprocess.run(command, check=True, cwd=checkout, env=os.environ | {"PYTHONPATH": str(checkout)})
        found: list[dict[str, Any]] = json.loads(into.read_text())
        return found


def _report(chosen: argparse.Namespace) -> None:
    from pipeline.study.provenance import provenance

    columns = f"{'':10} {'':58} {'ratio':>7} {'quartiles':>13} {'goal':>5}  "
    print(columns + ("before           " if chosen.before else "") + "against", flush=True)
    all_rows: list[dict[str, Any]] = []
    for name in chosen.only:
        rows = _rows(name, ROOT, quick=chosen.quick)
        before = _rows(name, chosen.before.resolve(), quick=chosen.quick) if chosen.before else []
        ratios = {row["what"]: row for row in before}
        for row in rows:
            row["before"] = ratios.get(row["what"])
            print(_line(row, wide=bool(chosen.before)), flush=True)
        all_rows += rows
    if chosen.json is not None:
        chosen.json.write_text(json.dumps({"rows": all_rows, "provenance": provenance()}, indent=2))


def _line(row: dict[str, Any], *, wide: bool) -> str:
    start = f"{row['benchmark']:10} {row['what']:58} "
    if "why" in row:
        return start + f"not measured: {row['why']}"
    spread = f"{row['low']:.2f} … {row['high']:.2f}"
    goal = "" if row["goal"] is None else f"{row['goal']:g}"
    before = ""
    if wide and row["before"] is not None and "ratio" in row["before"]:
        then = row["before"]
        before = f"{then['ratio']:.3f} ({then['low']:.2f} … {then['high']:.2f})"
    number = f"{row['ratio']:.3f}" + ("" if row["unit"] in ("×", "") else f" {row['unit']}")
    return start + f"{number:>7} {spread:>13} {goal:>5}  {before:17}{row['base']}"


if __name__ == "__main__":
    main()
