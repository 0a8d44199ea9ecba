"""What the model card and the terminal say of 8-bit networks."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.export.in_turns import speed_in_card
from pipeline.export.int8.kinds import KINDS
from pipeline.export.int8.making import Int8Network
from pipeline.fronts.numbers import megabytes

FILE_HELP = (
    "```python\nimport onnxruntime\n\noptions = onnxruntime.SessionOptions()\n"
    "options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_{level}\n"
    'session = onnxruntime.InferenceSession("DIR/{file}", options)\n'
    "{call}\n```"
)
TORCHAO_HELP = (
    "No file is written for it: it is made from the fp32 network wherever it runs.\n\n"
    "```python\nfrom torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_\n\n"
    "quantize_(model, Int8DynamicActivationInt8WeightConfig())\n```"
)


def card_section(forms: Sequence[Int8Network], *, metric_name: str, call: str) -> str:
    """Return the card's section: a table of the forms, and how the kept one is loaded; `call` of `session_call`."""
    kept = next(form for form in forms if form.kept)
    bench = kept.times[0].bench
    shapes = [time.bench.shape for time in kept.times]
    head = [
        "kind",
        metric_name,
        "against fp32",
        "size",
        *(f"latency, {s.batch} × {s.length} tokens" for s in shapes),
    ]
    rows = [head, ["---"] * len(head), *(_row(form) for form in forms)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    tests = "".join(
        f" On the rows of `{part}` it has {scores['metric']:.4f}."
        for part, scores in (kept.test or {}).items()
    )
    return (
        f"## In 8 bits\n\n{table}\n\n"
        f"The validation rows are those of the table above; fp32 has {kept.fp32_validation:.4f} on them. Latency is on "
        f"{bench.device}, {bench.threads} thread(s), in turns with the fp32 network in the same engine "
        f"({kept.engine}); another processor has another ratio. Kept is `{kept.kind}`: {KINDS[kept.kind].said}.{tests}"
        f"\n\n{_loading(kept, call)}"
    )


def loss_said(form: Int8Network) -> str:
    """Return what 8 bits cost of the metric."""
    return f"{form.validation - form.fp32_validation:+.4f} against fp32"


def _row(form: Int8Network) -> list[str]:
    name = f"**{form.kind}**" if form.kept else form.kind
    times = [speed_in_card(time) for time in form.times]
    return [
        name,
        f"{form.validation:.4f}",
        f"{form.validation - form.fp32_validation:+.4f}",
        megabytes(form.size_bytes),
        *times,
    ]


def _loading(kept: Int8Network, call: str) -> str:
    if kept.file is None:
        return TORCHAO_HELP
    return FILE_HELP.format(level=KINDS[kept.kind].optimisation.upper(), file=kept.file, call=call)
