"""Rankings and recoveries side by side, from the same tuned networks: scored on test rows at fixed compressions.

    python -m tests.benchmarks.recoveries --task SST-2/task.toml --model FOLDER --store DIR [--seeds 3] [--first-seed 0]
        [--ways plain:obs snip:obs ...] [--targets 0.33 0.49 0.65 0.8 0.9] [--rows N] [--tune 2] [--recover 1]
        [--points 0.65 0.8] [--chains one sandwich] [--ladder 2] [--precision auto] [--report]

A way is TUNED:RANKING. `plain` is fine-tuning without a method, any other TUNED a method that trains (`snip`); RANKING
is a method that ranks its network, or `own`. Settings of the method may follow: snip:own,level=neuron; and distill=kd
or layers, from which the ladder, the chains and the points learn: the teacher is the plainly tuned network of the seed.
Every seed tunes each network once; then each way gives, at each target

    refit       refitted in closed form, no training; and the same, not refitted (--no-refit: not asked for)
    ladder      cut to each target in turn, refitted, and trained; all together for --ladder epochs
    chain       all networks trained together for --recover epochs, refitted
    point       each by itself (of --points), refitted, then trained for --recover epochs

Nothing is chosen on any row. The hypervolume is that of a way's networks with its uncut one, above the best constant
prediction, in units of the plainly tuned network's; points of all targets together. Seconds are of one thread;
`epoch_s` is what one epoch of plain tuning took on the same machine at about the same time. Every result is kept in
DIR as it ends; the same command goes on with what is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.model.resolve import resolve_model
from pipeline.model.source import Weights, preprocessor, read_weights, save_weights
from pipeline.study.metrics import constant
from pipeline.study.pareto import hypervolume
from pipeline.study.records import Ask, Params, ParamValue
from pipeline.study.space import load_space
from pipeline.task.batches import Split
from pipeline.task.loading import load_task, open_test, tokenise_test, train_texts
from pipeline.trial.anchors import Banks, teach
from pipeline.trial.chained import begin_chain
from pipeline.trial.curve import Ranking
from pipeline.trial.distillation import NONE
from pipeline.trial.inputs import TrialInputs, head_of, inputs_of
from pipeline.trial.job import TrialJob
from pipeline.trial.run import TrialRun
from pipeline.trial.training.loop import Listener

PLAIN, OWN = "plain", "own"
START: Params = {"start_dense": True, "tune_epochs": 0.0}


@dataclass(frozen=True)
class Way:
    """What tuned a network, what ranks it, and settings that differ from the packaged ones."""

    text: str
    tuned: str
    ranking: str
    settings: Params
    distill: str = NONE

    @staticmethod
    def of(text: str) -> Way:
        name, *settings = text.split(",")
        tuned, ranking = name.split(":")
        own = dict(map(setting, settings))
        return Way(text, tuned, ranking, own, str(own.pop("distill", NONE)))

    @property
    def of_tuning(self) -> Params:
        """The settings that the tuned network has: all of a method's, of plain fine-tuning the learning rate."""
        plain = self.tuned == PLAIN
        return {name: value for name, value in self.settings.items() if not plain or name == "learning_rate"}

    @property
    def method(self) -> str:
        """The method whose space the trial has: the one that ranks, unless the one that trained does."""
        return self.tuned if self.ranking == OWN else self.ranking


@dataclass
class Bench:
    """A task, a model, its test rows, and where results are kept."""

    chosen: argparse.Namespace
    inputs: Callable[[str], TrialInputs]
    test: Split
    store: Path
    seed: int
    tuned: dict[
        str, tuple[Weights, float]
    ]  # by what tuned it (with its settings): weights, seconds of an epoch

    def params(self, method: str, own: Params, distill: str = NONE) -> Params:
        params = load_space(method, file=None, pretrained=True, distill=distill).defaults()
        params = {name: value for name, value in params.items() if name != "threshold"}
        return params | {"target": 0.5, "rounds": 1, "rank_by": OWN, "recover": "point"} | own

    def start(self, way: Way, own: Params) -> tuple[TrialRun, float]:
        """A trial that begins at the tuned network; and what an epoch of its tuning took."""
        key = ",".join([way.tuned, *(f"{name}={value}" for name, value in way.of_tuning.items())])
        if key not in self.tuned:
            self.tuned[key] = self._tuned(
                way, self.store / f"tuned--{key.replace(':', '+')}--seed{self.seed}"
            )
        weights, epoch_s = self.tuned[key]
        inputs = replace(self.inputs(way.method), dense=weights)
        if way.distill != NONE:
            inputs = self._taught(inputs, way.distill)
        settings = START | {"recover_epochs": self.chosen.recover} | way.settings | own
        params = self.params(way.method, settings, way.distill)
        run = TrialRun(inputs, TrialJob(Ask(0, params, self.seed), keep_weights=False))
        run.train(run.phases[0], Listener())
        return run, epoch_s

    def _taught(self, inputs: TrialInputs, distill: str) -> TrialInputs:
        """The inputs with a teacher: what the plainly tuned network makes of the training rows."""
        weights, _ = self._tuned(Way.of(f"{PLAIN}:{OWN}"), self.store / f"tuned--{PLAIN}--seed{self.seed}")
        banks = Banks(finetuned=False, pretrained=False, layers=distill == "layers")
        return replace(inputs, distill=distill, teacher=teach(replace(inputs, dense=weights), banks))

    def _tuned(self, way: Way, file: Path) -> tuple[Weights, float]:
        """The network from its file; trained and written if there is none."""
        weights, facts = file.with_name(f"{file.name}.safetensors"), file.with_name(f"{file.name}.time")
        if not facts.exists():
            model, seconds = self._tune(way)
            save_weights(model, weights)
            facts.write_text(str(seconds))
        return read_weights(weights), float(facts.read_text())

    def _tune(self, way: Way) -> tuple[Any, float]:
        method = "chance" if way.tuned == PLAIN else way.tuned
        params = self.params(method, way.of_tuning | {"tune_epochs": self.chosen.tune, "recover_epochs": 0.0})
        run = TrialRun(self.inputs(method), TrialJob(Ask(0, params, self.seed), keep_weights=False))
        began = time.monotonic()
        run.train(run.phases[0], Listener())
        seconds = (time.monotonic() - began) / self.chosen.tune
        return run.model, seconds

    def score(self, run: TrialRun, model: Any) -> float:
        return float(run.inputs.evaluate(model, self.test).metrics["metric"])

    def measure(self, run: TrialRun, ranking: Ranking) -> tuple[dict[str, list[float]], float]:
        """Compression and metric on test rows at each target; and the seconds of it all."""
        steps = [ranking.at(threshold=float("-inf")), *(ranking.at(target=t) for t in self.chosen.targets)]
        steps = [step for at, step in enumerate(steps) if not at or step.removed > steps[at - 1].removed]
        found, began = {}, time.monotonic()

        def examine(model: Any, anatomy: Any) -> Any:
            return run.inputs.evaluate(model, self.test), None

        for step, evaluation, _ in ranking.walk(run.model, steps, examine):
            found[f"{step.compression:.4f}"] = float(evaluation.metrics["metric"])
        near = {}
        for target in self.chosen.targets:
            reached = [(float(c), m) for c, m in found.items() if float(c) >= target - 1e-9]
            near[f"{target:g}"] = list(min(reached)) if reached else []
        return {"0": [0.0, found[min(found)]]} | near, time.monotonic() - began

    def results(self, way: Way) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
        """Every result of a way: its name and what computes it."""
        if self.chosen.refit:
            yield "refit", lambda: self._untrained(way)
        if self.chosen.ladder:
            yield "ladder", lambda: self._ladder(way)
        for kind in self.chosen.chains:
            yield f"chain-{kind}", lambda kind=kind: self._chain(way, kind)
        for target in self.chosen.points:
            yield f"point-{target:g}", lambda target=target: self._point(way, target)

    def _untrained(self, way: Way) -> dict[str, Any]:
        run, epoch_s = self.start(way, {"reconstruct": True})
        began = time.monotonic()
        ranking = run.rank()
        rank_s = time.monotonic() - began
        metrics, walk_s = self.measure(run, ranking)
        bare, _ = self.measure(run, ranking.renewed(run.anatomy, None))
        return {
            "metrics": metrics,
            "not_refitted": bare,
            "rank_s": rank_s,
            "walk_s": walk_s,
            "epoch_s": epoch_s,
        }

    def _ladder(self, way: Way) -> dict[str, Any]:
        steps = {
            "recover": "ladder",
            "recover_epochs": self.chosen.ladder,
            "ladder_steps": len(self.chosen.targets),
        }
        run, epoch_s = self.start(way, steps | {"reconstruct": True})
        metrics, began = {}, time.monotonic()
        for target, phase in zip(self.chosen.targets, run.phases[1:], strict=True):
            ranking = run.rank()
            step = ranking.at(target=target)
            run.cut(ranking, step)
            run.recover(phase, Listener())
            metrics[f"{target:g}"] = [step.compression, self.score(run, run.model)]
        return {"metrics": metrics, "train_s": time.monotonic() - began, "epoch_s": epoch_s}

    def _chain(self, way: Way, kind: str) -> dict[str, Any]:
        run, epoch_s = self.start(way, {"recover": "chain", "chain_batch": kind, "reconstruct": True})
        ranking = run.rank()
        run.cut(ranking, run.next_cut(ranking))
        begin_chain(run, ranking)
        began = time.monotonic()
        remark = run.recover(run.phases[-1], Listener())
        train_s = time.monotonic() - began
        bare, _ = self.measure(run, ranking.renewed(run.anatomy, None))
        metrics, walk_s = self.measure(run, ranking.renewed(run.anatomy, run.reconstruction()))
        seconds = {"train_s": train_s, "walk_s": walk_s, "epoch_s": epoch_s}
        return {"metrics": metrics, "not_refitted": bare, "remark": remark, **seconds}

    def _point(self, way: Way, target: float) -> dict[str, Any]:
        run, epoch_s = self.start(way, {"target": target, "reconstruct": True})
        ranking = run.rank()
        step = ranking.at(target=target)
        run.cut(ranking, step)
        began = time.monotonic()
        remark = run.recover(run.phases[-1], Listener())
        seconds = {"train_s": time.monotonic() - began, "epoch_s": epoch_s}
        found = {f"{target:g}": [step.compression, self.score(run, run.model)]}
        return {"metrics": found, "remark": remark, **seconds}


def setting(text: str) -> tuple[str, ParamValue]:
    """KEY=VALUE, the value as JSON if it is any."""
    key, value = text.split("=")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value


def main() -> None:
    """Computes what is missing and prints means and standard deviations over seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--task", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--ways", nargs="+", default=["plain:obs", "snip:obs"])
    parser.add_argument("--targets", nargs="+", type=float, default=[0.33, 0.49, 0.65, 0.8, 0.9])
    parser.add_argument("--points", nargs="*", type=float, default=[])
    parser.add_argument("--chains", nargs="*", default=[])
    parser.add_argument("--ladder", type=float, default=0.0, help="epochs, of all its networks together")
    parser.add_argument("--tune", type=float, default=2.0)
    parser.add_argument("--recover", type=float, default=1.0)
    parser.add_argument(
        "--rows", type=int, default=None, help="training rows, the first ones of a fixed random order"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin nothing after these")
    parser.add_argument("--no-refit", dest="refit", action="store_false")
    parser.add_argument("--report", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    chosen.store.mkdir(parents=True, exist_ok=True)
    if not chosen.report:
        compute(chosen)
    report(chosen.store, constant_of(chosen))


def compute(chosen: argparse.Namespace) -> None:
    task = load_task(str(chosen.task), cache=chosen.store / "cache")
    source = resolve_model(chosen.model, head=head_of(task.kind), train_texts=train_texts(task))
    test = next(iter(tokenise_test(task, preprocessor(source)).values()))
    known: dict[str, TrialInputs] = {}

    def inputs(method: str) -> TrialInputs:
        if method not in known:
            made = inputs_of(task, source, method=method, precision=chosen.precision)
            if chosen.rows is not None:
                rows = np.random.default_rng(0).permutation(len(made.data.train))[: chosen.rows]
                made = replace(made, data=replace(made.data, train=made.data.train.take(np.sort(rows))))
            known[method] = made
        return known[method]

    began = time.monotonic()
    for seed in range(chosen.first_seed, chosen.first_seed + chosen.seeds):
        bench = Bench(chosen, inputs, test, chosen.store, seed, {})
        for way in map(Way.of, chosen.ways):
            for name, result in bench.results(way):
                file = chosen.store / f"{way.text.replace(':', '+')}--{name}--seed{seed}.json"
                if file.exists() or time.monotonic() - began > 60 * chosen.minutes:
                    continue
                facts = {"way": way.text, "result": name, "seed": seed, "load": os.getloadavg()[0]}
                file.write_text(json.dumps(facts | result()))
                print(f"{time.monotonic() - began:6.0f} s  seed {seed}  {way.text}  {name}", flush=True)


def constant_of(chosen: argparse.Namespace) -> float:
    """The best constant prediction's metric on the test rows."""
    task = load_task(str(chosen.task), cache=chosen.store / "cache")
    labels = next(iter(open_test(task).values()))["label"].to_numpy()
    return float(constant(task.kind.metric, labels, classes=task.kind.classes))


def report(store: Path, baseline: float) -> None:
    """Print a line for each way and result."""
    found = [json.loads(file.read_text()) for file in sorted(store.glob("*--seed*.json"))]
    uncut = {(one["way"], one["seed"]): one["metrics"]["0"][1] for one in found if one["result"] == "refit"}
    for way in dict.fromkeys(one["way"] for one in found):
        print(way)
        of_way = [one for one in found if one["way"] == way]
        for result in dict.fromkeys(one["result"] for one in of_way):
            own = [one for one in of_way if one["result"] == result]
            _print_line(result, own, "metrics")
            if "not_refitted" in own[0]:
                _print_line(f"{result}, not refitted", own, "not_refitted")
        for kind in dict.fromkeys(one["result"].split("-")[0] for one in of_way):
            volumes = _volumes([one for one in of_way if one["result"].startswith(kind)], uncut, baseline)
            if volumes:
                print(f"  {kind}: hypervolume {_mean(volumes)}")


def _volumes(
    found: list[dict[str, Any]], uncut: dict[tuple[str, int], float], baseline: float
) -> list[float]:
    """The hypervolume of each seed whose uncut networks, the way's own and the plain one, were measured."""
    volumes = []
    for seed in sorted({one["seed"] for one in found}):
        tuned = found[0]["way"].split(",")[0]  # settings of a recovery are not of its start
        plain = next(
            (value for (way, of), value in uncut.items() if way.startswith(PLAIN) and of == seed), None
        )
        own = uncut.get((found[0]["way"], seed), uncut.get((tuned, seed)))
        if plain is None or own is None:
            continue
        cut = [values for one in found if one["seed"] == seed for values in one["metrics"].values() if values]
        rows = np.array([(metric, compression) for compression, metric in [[0.0, own], *cut]])
        volumes.append(hypervolume(rows, (baseline, 0.0)) / (plain - baseline))
    return volumes


def _mean(values: list[float]) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else float("nan")
    return f"{statistics.mean(values):.3f} ± {deviation:.3f} (n={len(values)})"


def _print_line(name: str, own: list[dict[str, Any]], key: str) -> None:
    cells = []
    for target in own[0][key]:
        values = [one[key][target][1] for one in own if one[key].get(target)]
        if values:
            deviation = statistics.stdev(values) if len(values) > 1 else float("nan")
            reached = statistics.mean(one[key][target][0] for one in own if one[key].get(target))
            cells.append(f"{target}: {statistics.mean(values):.3f} ± {deviation:.3f} ({reached:.0%})")
    parts = [
        f"{s} {statistics.mean(o[s] / o['epoch_s'] for o in own):.2f}"
        for s in ("rank_s", "walk_s", "train_s")
        if s in own[0]
    ]
    print(f"  {name:24} n={len(own)}  " + "  ".join(cells) + "   in epochs: " + ", ".join(parts))


if __name__ == "__main__":
    main()
