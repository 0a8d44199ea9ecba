"""Is a cut network as much faster as it is smaller? Against its dense network, in pairs, in PyTorch and onnxruntime.

    python -m tests.benchmarks.cut_speed [--quick] [--model minilm base] [--engine torch compiled onnx] [--threads 1 2]
        [--kinds blocks layers heads neurons] [--compressions 0.25 0.5 0.75 0.9] [--pairs N] [--json FILE]
        [--keep-memory]

`minilm` is the real MiniLM (6 layers, 384 wide), `base` has the shape of BERT-base and random weights: they do not
matter for time. 32 rows of 128 tokens, fp32, without padding; wall time, so leave the machine alone. MACs are those
of the encoder, which is what a cut removes: embeddings, pooler and classifier stay. A ratio of speed-up to MACs
below 1 says what they, LayerNorms and narrow matrices cost. `compiled` is torch.compile's against the dense network
as it comes; its row of the dense network says what compiling brings that.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from transformers import BertConfig, PreTrainedModel

from pipeline.export.onnx import open_session, write_onnx
from pipeline.model.anatomy import Anatomy
from pipeline.model.source import ModelSource, build
from pipeline.model.surgery import cut
from pipeline.study.records import Masks
from pipeline.trial.measure import encoder_parameters
from pipeline.trial.training.process import keep_memory
from tests.benchmarks import subject

BATCH, TOKENS = 32, 128
KINDS = ("blocks", "layers", "heads", "neurons")
COMPRESSIONS = (0.25, 0.5, 0.75, 0.9)
PAIRS, QUICK_PAIRS = 9, 3
LEAST_LEFT = 0.1  # of the neurons, where they alone do not reach a compression: heads go then
MEGABYTE = 10**6
SETTLE_S = 0.1  # onnxruntime's threads spin for a while after a run, and take the other's cores

Network = tuple[PreTrainedModel, Anatomy]
Run = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """One cut network; `speedup` is the median of dense / cut over pairs, `low` and `high` are quartiles."""

    model: str
    kind: str
    engine: str
    threads: int
    compression: float
    parameters: int
    size_mb: float
    macs_ratio: float  # dense / cut
    dense_ms: float
    speedup: float
    low: float
    high: float

    @property
    def of_macs(self) -> float:
        """How much of what the MACs promise is there."""
        return self.speedup / self.macs_ratio


def masks_for(kind: str, anatomy: Anatomy, compression: float) -> Masks:
    """What stays when about `compression` of the encoder goes in units of one kind; which of them is random.

    `heads` takes neurons along, the same share of both, where heads alone do not reach; `neurons` then takes heads.
    """
    costs, generator = anatomy.costs, np.random.default_rng(0)
    masks = Masks.full(anatomy.dense_layers, anatomy.heads_per_layer, anatomy.neurons_per_layer)
    if kind in ("blocks", "layers"):
        order = generator.permutation(anatomy.dense_layers * (2 if kind == "blocks" else 1))
        for unit in order:
            before = copy.deepcopy(masks)
            if kind == "layers":
                masks.layers[unit] = masks.heads[unit] = masks.neurons[unit] = False
            else:
                (masks.heads if unit % 2 else masks.neurons)[unit // 2] = False
            now, then = costs.compression(masks), costs.compression(before)
            if now >= compression:
                return masks if now - compression <= compression - then else before
        return masks
    wanted = compression * costs.encoder / anatomy.dense_layers  # of a layer
    all_heads, all_neurons = anatomy.heads_per_layer * costs.head, anatomy.neurons_per_layer * costs.neuron
    if kind == "heads":
        both = min(1.0, wanted / (all_heads + all_neurons))
        heads, neurons = (wanted / all_heads, 0.0) if wanted < all_heads else (both, both)
    else:
        neurons = min(wanted / all_neurons, 1 - LEAST_LEFT)
        heads = (wanted - neurons * all_neurons) / all_heads if neurons == 1 - LEAST_LEFT else 0.0
    for layer in range(anatomy.dense_layers):
        for units, share in ((masks.heads[layer], heads), (masks.neurons[layer], neurons)):
            units[generator.permutation(len(units))[: round(share * len(units))]] = False
    return masks


def source(name: str) -> ModelSource:
    """A model by its short name."""
    if name == "minilm":
        return subject.source()
    return ModelSource(name, "", json.loads(BertConfig(num_labels=2).to_json_string()), {}, {})


def smaller(dense: Network, masks: Masks) -> Network:
    """A copy that is cut."""
    model, anatomy = copy.deepcopy(dense)
    return model, cut(model, anatomy, masks)


def torch_run(model: Callable[..., object]) -> Run:
    """A forward pass in PyTorch."""
    ids = torch.from_numpy(token_ids())
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    def run() -> None:
        with torch.inference_mode():
            model(**inputs)

    return run


def compiled_run(model: PreTrainedModel) -> Run:
    """The same, compiled."""
    torch.compiler.reset()  # else each network counts as one more version of the one before
    run = torch_run(torch.compile(model))
    run()
    return run


def onnx_run(model: PreTrainedModel, *, threads: int) -> Run:
    """A forward pass in onnxruntime."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        write_onnx(path, model)
        session = open_session(path, threads=threads)
    ids = token_ids()
    given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    inputs = {entry.name: given[entry.name] for entry in session.get_inputs()}
    return lambda: session.run(None, inputs)


def token_ids() -> np.ndarray:
    """[B, T] words."""
    return np.random.default_rng(0).integers(*subject.WORDS, size=(BATCH, TOKENS))


def ratios(run: Run, dense: Run, *, pairs: int) -> tuple[list[float], float]:
    """dense / cut of each pair, in changing order, after one that does not count; and the median of dense in ms."""
    found, alone = [], []
    for pair in range(pairs + 1):
        first, second = (dense, run) if pair % 2 else (run, dense)
        seconds = {id(turn): _seconds(turn) for turn in (first, second)}
        found.append(seconds[id(dense)] / seconds[id(run)])
        alone.append(1_000 * seconds[id(dense)])
    return found[1:], statistics.median(alone[1:])


def _seconds(run: Run) -> float:
    time.sleep(SETTLE_S)
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measure(chosen: argparse.Namespace) -> Iterator[Row]:
    """All rows, as they are found."""
    for name in chosen.model:
        dense = build(source(name), seed=0)
        plans = [("dense", 0.0)] + [(kind, share) for kind in chosen.kinds for share in chosen.compressions]
        for engine in chosen.engine:
            for threads in chosen.threads:
                torch.set_num_threads(threads)
                makes = {
                    "torch": torch_run,
                    "compiled": compiled_run,
                    "onnx": partial(onnx_run, threads=threads),
                }
                make = makes[engine]
                base = torch_run(dense[0]) if engine == "compiled" else make(dense[0])
                for kind, share in plans:
                    masks = masks_for(kind, dense[1], share) if share else dense[1].present
                    yield _row(
                        name, kind, engine, dense, smaller(dense, masks), make, base, threads, chosen.pairs
                    )


def _row(
    name: str, kind: str, engine: str, dense: Network, network: Network, make: Callable[[PreTrainedModel], Run],
    base: Run, threads: int, pairs: int,
) -> Row:  # fmt: skip
    model, anatomy = network
    costs, present = anatomy.costs, anatomy.present
    found, dense_ms = ratios(make(model), base, pairs=pairs)
    low, middle, high = statistics.quantiles(found, n=4)
    parameters = sum(p.numel() for p in model.parameters())
    return Row(
        model=name,
        kind=kind,
        engine=engine,
        threads=threads,
        compression=1 - encoder_parameters(model, anatomy) / costs.encoder,
        parameters=parameters,
        size_mb=4 * parameters / MEGABYTE,
        macs_ratio=costs.macs(dense[1].present, TOKENS) / costs.macs(present, TOKENS),
        dense_ms=dense_ms,
        speedup=middle,
        low=low,
        high=high,
    )


def main() -> None:
    """Measures and prints; a row as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="few pairs, one thread, two compressions of MiniLM"
    )
    parser.add_argument("--model", nargs="+", choices=("minilm", "base"), default=["minilm", "base"])
    parser.add_argument(
        "--engine", nargs="+", choices=("torch", "compiled", "onnx"), default=["torch", "onnx"]
    )
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--compressions", nargs="+", type=float, default=list(COMPRESSIONS))
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--keep-memory", action="store_true", help="freed memory stays in the process")
    parser.add_argument("--json", type=Path, help="write the rows there")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.model, chosen.threads, chosen.compressions = ["minilm"], [1], [0.5, 0.75]
        chosen.pairs = QUICK_PAIRS
    if chosen.keep_memory:
        keep_memory()
    print(
        f"{BATCH} x {TOKENS} tokens, fp32; speed-up: median of {chosen.pairs} pairs (quartiles)\n"
        f"{'model':7} {'cut':8} {'engine':8} thr {'compr.':>6} {'params':>8} {'size':>8} {'MACs':>6}  "
        f"{'dense':>9}  {'speed-up':22} {'/ MACs':>6}"
    )
    rows = []
    for row in measure(chosen):
        rows.append(row)
        print(
            f"{row.model:7} {row.kind:8} {row.engine:8} {row.threads:3} {row.compression:6.1%} "
            f"{row.parameters / 1e6:6.2f} M {row.size_mb:5.1f} MB {row.macs_ratio:5.2f}x  {row.dense_ms:6.0f} ms  "
            f"{row.speedup:5.2f} ({row.low:5.2f} - {row.high:5.2f})  {row.of_macs:6.3f}",
            flush=True,
        )
        if chosen.json:
            chosen.json.write_text(
                json.dumps([asdict(each) | {"of_macs": each.of_macs} for each in rows], indent=2)
            )


if __name__ == "__main__":
    main()
