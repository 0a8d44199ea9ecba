"""The model card, README.md: what was removed, what is left of the metric, how fast, how to load, from where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from pipeline.export.engines import ONNX, EngineNetwork
from pipeline.export.engines import card_section as engines_section
from pipeline.export.int8 import Int8Network, card_section
from pipeline.export.onnx import session_call
from pipeline.fronts.front import Front, FrontPoint
from pipeline.fronts.numbers import mb, megabytes, millions, milliseconds, percent
from pipeline.model.folder import BUILTINS
from pipeline.model.heads import CLASSIFIER, HEADS, IMAGE_CLASSIFIER, SPANS
from pipeline.study.records import OriginalSize, StudySpec
from pipeline.study.store import DataFacts, TestScores, Timed

CARD, FIGURE = "README.md", "front.png"
BELIEVE = ": of the two scores, that on the test rows is the one to believe."
NO_TEST = ", and is too good by luck: no test row has a label to measure it on."
VERSIONS = ("prunefront", "torch", "transformers", "optuna", "ray", "python")


@dataclass(frozen=True)
class Facts:
    """What the card holds. `layout` is the checkpoint's; `dense_heads` and `dense_neurons` are of a layer."""

    front: Front
    point: FrontPoint
    scores: TestScores
    times: Sequence[Timed]
    size_bytes: int
    licence: str | None
    provenance: Mapping[str, str]
    seed: int
    length: int  # tokens of the row that MACs are given for
    layout: Sequence[Mapping[str, int]]
    dense_layers: int
    dense_heads: int
    dense_neurons: int
    warnings: Sequence[str]
    original: OriginalSize | None = None  # before the model's first cut, and with its whole vocabulary
    network: str = CLASSIFIER  # what stands on the encoder: a key of HEADS
    plain: bool = False  # whether the folder holds no code of ours
    int8: Sequence[Int8Network] = ()  # the 8-bit forms that were measured; one of them is kept
    dense_scores: TestScores | None = (
        None  # of the dense network on the same test rows; None if its weights are gone
    )
    engines: Sequence[EngineNetwork] = ()  # the network in other engines than PyTorch
    reading: Mapping[str, float] = field(default_factory=dict)  # entries of config.json: a threshold
    data: DataFacts = field(default_factory=DataFacts)  # with what the test rows have in common with others

    @property
    def onnx_difference(self) -> float | None:
        """The largest difference of an output of model.onnx from PyTorch's; None if there is none."""
        return next((each.difference for each in self.engines if each.name == ONNX), None)


def card(facts: Facts) -> str:
    """Return the whole card, Markdown with the head that the hub reads."""
    sections = [_head(facts), _summary(facts), _layers(facts), _loading(facts)]
    if facts.int8:
        call = session_call(HEADS[facts.network].outputs, _given(facts))
        sections.append(card_section(facts.int8, metric_name=facts.front.spec.metric_name, call=call))
    sections.append(_origin(facts))
    return "\n\n".join(sections) + "\n"


def model_name(spec: StudySpec) -> str:
    """Return the base model's name; of a folder only the last part, as a card may be published."""
    return spec.model if from_hub(spec) or spec.model in BUILTINS else Path(spec.model).name


def from_hub(spec: StudySpec) -> bool:
    """Return whether the base model came from the hub: its fingerprint has the commit."""
    return "@" in spec.model_fingerprint


def _head(facts: Facts) -> str:
    """Return the head by which the hub sorts models."""
    spec = facts.front.spec
    entries: dict[str, object] = {
        "library_name": "transformers",
        "pipeline_tag": HEADS[facts.network].pipeline,
    }
    if facts.licence is not None:
        entries["license"] = facts.licence
    if from_hub(spec):
        entries["base_model"] = spec.model
    entries["tags"] = ["prunefront", "pruning"]
    return f"---\n{yaml.safe_dump(entries, sort_keys=False, allow_unicode=True)}---"


def _summary(facts: Facts) -> str:
    bench = facts.times[0].bench
    rows = [("", "this network", "dense"), ("---", "---", "---"), *_rows(facts)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    remarks = "".join(f"\n\n> {remark}" for remark in (*facts.warnings, *facts.data.remarks))
    return (
        f"{_title(facts)}\n\n{table}\n\n"
        f"Latency on {bench.device}, {bench.threads} thread(s), in PyTorch, in turns with the dense network, without "
        "tokenisation. "
        f"The network was chosen on the validation rows, from a front of {_networks(len(facts.front.points))} out of "
        f"{facts.front.seen} that were measured"
        f"{BELIEVE if facts.scores.parts else NO_TEST}{remarks}\n\n![The front that it was chosen from]({FIGURE})"
    )


def _networks(count: int) -> str:
    return "1 network" if count == 1 else f"{count:,} networks"


def _rows(facts: Facts) -> list[tuple[str, str, str]]:
    """Return the rows of the table: this network, and the dense one beside it."""
    spec, point, anchors = facts.front.spec, facts.point, facts.front.spec.anchors
    return [
        (
            f"{spec.metric_name} (validation, {spec.validation_rows:,} rows)",
            _score(point.metric),
            _score(anchors.dense),
        ),
        *(_test_row(facts, part) for part in facts.scores.parts),
        *(
            (f"{name} of probabilities (in config.json)", f"{value:g}", "")
            for name, value in facts.reading.items()
        ),
        ("parameters", millions(point.parameters), millions(anchors.dense_parameters)),
        *_nonzero_row(facts),
        (
            "of them in the encoder",
            millions(point.encoder_parameters),
            millions(anchors.dense_encoder_parameters),
        ),
        *_first_row(facts),
        (
            f"multiply-accumulates of a row of {facts.length} tokens",
            millions(point.macs),
            millions(anchors.dense_macs),
        ),
        (
            "size of the weights (fp32)",
            megabytes(facts.size_bytes),
            f"{mb(anchors.dense_size_mb)} MB",
        ),
        *(_latency_row(each) for each in facts.times),
    ]


def _title(facts: Facts) -> str:
    """Return the title: how the network was made smaller, and what that is good for."""
    spec, point = facts.front.spec, facts.point
    name = model_name(spec)
    if spec.zeroes:
        return (
            f"# {name} on {spec.task}, {percent(point.sparsity)} of its encoder zero\n\n"
            f"A network in which prunefront, method `{spec.approach}`, set single weights of `{name}` to "
            "zero. The zeros are stored like any number: the file is not smaller, and on usual hardware the network is "
            "not faster; a compressed file or sparse kernels may use them."
        )
    return (
        f"# {name} on {spec.task}, {percent(point.compression)} of its encoder removed\n\n"
        f"A network that is smaller for real: heads, neurons and blocks of `{name}` were removed by "
        f"prunefront, method `{spec.approach}`, and no zeros are left in their place."
    )


def _nonzero_row(facts: Facts) -> list[tuple[str, str, str]]:
    count = facts.point.nonzero_parameters
    if count is None:
        return []
    return [("of them not zero", millions(count), millions(facts.front.spec.anchors.dense_parameters))]


def _first_row(facts: Facts) -> list[tuple[str, str, str]]:
    """Return how much is gone of the encoder before its first cut, if the model had been cut before."""
    first, dense = facts.original, facts.front.spec.anchors.dense_encoder_parameters
    if first is None or first.encoder_parameters == dense:
        return []
    now, before = (percent(first.compression_of(count)) for count in (facts.point.encoder_parameters, dense))
    return [("gone of the encoder before its first cut", now, before)]


def _latency_row(each: Timed) -> tuple[str, str, str]:
    name = f"latency, {each.bench.batch} × {each.bench.length} tokens"
    if each.disturbed:
        return name, "not measured: the machine was busy", "–"
    return (
        name,
        f"{milliseconds(each.ms)} ({each.dense_ms / each.ms:.2f} × as fast; quartiles {milliseconds(each.spread_ms)} "
        "apart)",
        milliseconds(each.dense_ms),
    )


def _test_row(facts: Facts, part: str) -> tuple[str, str, str]:
    name, count, dense = facts.front.spec.metric_name, facts.scores.rows[part], facts.dense_scores
    same = dense is not None and dense.rows.get(part) == count  # the task may have had other test rows then
    return (
        f"{name} ({part}, {count:,} rows)",
        _score(facts.scores.parts[part]["metric"]),
        _score(dense.parts[part]["metric"]) if dense is not None and same else "not measured",
    )


def _layers(facts: Facts) -> str:
    if facts.front.spec.zeroes:
        return "## What was removed\n\nNo head, neuron or layer: only single weights are zero."
    kept = {row["layer"]: row for row in facts.layout}
    lines = ["## What was removed", "", "| layer | heads | neurons |", "| --- | --- | --- |"]
    for layer in range(facts.dense_layers):
        row = kept.get(layer)
        if row is None:
            lines.append(f"| {layer} | layer gone | layer gone |")
            continue
        heads = f"{row['heads']} of {facts.dense_heads}" if row["heads"] else "block gone"
        neurons = f"{row['neurons']:,} of {facts.dense_neurons:,}" if row["neurons"] else "block gone"
        lines.append(f"| {layer} | {heads} | {neurons} |")
    lines += [
        "",
        "Which ones stayed is in `prunefront.json`. Of a block that is gone y = LayerNorm(x) is left, or y = x where "
        "the LayerNorm comes before the block.",
    ]
    return "\n".join(lines)


def _loading(facts: Facts) -> str:
    share, images = facts.front.spec.share, facts.network == IMAGE_CLASSIFIER
    auto = HEADS[facts.network].auto
    reader, name = ("AutoImageProcessor", "processor") if images else ("AutoTokenizer", "tokenizer")
    plain = (
        "With torch and transformers alone; its configuration is the library's own, and no code is in this folder:"
        f"\n\n```python\nfrom transformers import {auto}, {reader}\n\n"
        f'{name} = {reader}.from_pretrained("DIR")\n'
        f'model = {auto}.from_pretrained("DIR")\n```'
    )
    cut = (
        "With torch and transformers (4.57 or 5) alone. `modeling_cut.py` in this folder builds the library's own "
        "network and narrows its layers; it is the code that is trusted here:\n\n"
        f"```python\nfrom transformers import {auto}, {reader}\n\n"
        f'{name} = {reader}.from_pretrained("DIR", trust_remote_code={not images})\n'
        f'model = {auto}.from_pretrained("DIR", trust_remote_code=True)\n```\n\n'
        "With prunefront, which runs no code of this folder:\n\n"
        "```python\nimport prunefront\n\n"
        + (
            'model = prunefront.load("DIR")\n```'
            if images
            else 'model, tokenizer = prunefront.load("DIR"), prunefront.load_tokenizer("DIR")\n```'
        )
    )
    more = (
        engines_section(
            facts.engines,
            outputs=HEADS[facts.network].outputs,
            given=_given(facts),
            axes="a free batch axis" if images else "free batch and sequence axes",
        )
        if facts.engines
        else f"For onnxruntime and OpenVINO: `prunefront export {facts.front.spec.name} --trial {facts.point.trial} "
        f"--{share} {getattr(facts.point, share):.4f} --to DIR --onnx --openvino`."
    )
    return f"## How to load it\n\n{plain if facts.plain else cut}\n\n{more}"


def _given(facts: Facts) -> str:
    """Return Python that makes the network's inputs of one row, as numpy's arrays."""
    given = {IMAGE_CLASSIFIER: "processor([image]", SPANS: 'tokenizer(["question"], ["context"]'}
    read = given.get(facts.network, 'tokenizer(["…"]')
    return f'{read}, return_tensors="np")'


def _origin(facts: Facts) -> str:
    spec, point = facts.front.spec, facts.point
    licence = (
        f"`{facts.licence}`" if facts.licence is not None else "not stated where it came from: ask before use"
    )
    if spec.model in BUILTINS:
        licence = "none, it was trained from nothing"
    versions = ", ".join(f"{name} {facts.provenance.get(f'version/{name}', '?')}" for name in VERSIONS)
    commit = facts.provenance.get("commit") or "of a release"
    settings = ", ".join(f"{key} = {value}" for key, value in sorted(point.params.items()))
    return (
        "## Where it comes from\n\n"
        f"* Licence of the base model: {licence}.\n"
        f"* Base model `{model_name(spec)}`, sha256 `{spec.model_fingerprint}`"
        f"{': it is the dense network above, fine-tuned before the study' * spec.own}.\n"
        f"* Task `{spec.task}`, sha256 of train and validation rows `{spec.task_fingerprint}`.\n"
        f"* Study `{spec.name}` (sampler {spec.sampler}, seed {spec.seed}), trial {point.trial} (seed {facts.seed}), "
        f"{'recovered' if point.kind == 'recovered' else 'a point of its curve, not trained after the cut'}.\n"
        f"* Settings: {settings}.\n"
        f"* {versions}; commit {commit}.\n"
    ).rstrip()


def _score(value: float) -> str:
    return f"{value:.4f}"
