"""What one GPU makes of prunefront: python -m tests.benchmarks.gpu [--parts NAME ...] [--json FILE] [--seconds N]

Runs from a bare checkout with torch, transformers, pyarrow, scikit-learn and scipy, and four wheels (pydantic,
pydantic-core, annotated-types, typing-inspection); nothing of Ray, Optuna or MLflow. One line of JSON per number, the
most telling first; `--json` is written anew with each. No number is begun after `--seconds`, 540 by default.
`--device cpu --tiny` runs the same on networks of two layers, for its logic alone: its numbers say nothing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from tests.benchmarks.gpu import networks, packing, training
from tests.benchmarks.gpu.bench import Bench, TimeUp

# In the order of their worth, with about the seconds that each takes on an H200 (not measured yet).
PARTS = {
    "waits": training.waits,  # 20: every place that makes the host wait
    "step": training.steps,  # 120: ms of steps, share of the card's rate, SNIP / plain, graph / eager
    "ways": training.ways,  # 110: the plain step by hand: masks, graph, compiled
    "curve": networks.curves,  # 60
    "cut": networks.cuts,  # 70: speed-up / MACs
    "trial": networks.trials,  # 60: where a trial's time goes
    "stack": training.stacks,  # 60: trials as one stacked network
    "packing": packing.processes,  # the rest: trials in processes of their own
}


def main() -> None:
    """Runs the parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--tiny", action="store_true", help="for its logic alone")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--json", type=Path, help="write the numbers there")
    parser.add_argument("--seconds", type=float, default=540.0, help="no number is begun after these")
    parser.add_argument("--body", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.device == "cpu":
        torch.set_num_threads(1)
    bench = Bench(torch.device(chosen.device), tiny=chosen.tiny, file=chosen.json, seconds=chosen.seconds)
    if chosen.body:
        packing.body(bench)
        return
    bench.say("facts", bench.name, torch=torch.__version__, precision=bench.precision)
    for name in chosen.parts:
        try:
            PARTS[name](bench)
        except TimeUp:
            bench.say(name, "not finished: time is up")
            return
        except Exception as error:  # the other parts are worth their minutes
            bench.say(name, "ended early", failed=f"{type(error).__name__}: {str(error)[:300]}")
        bench.clean()
    bench.say("end", "all parts")


if __name__ == "__main__":
    main()
