"""The command `prunefront export`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from pipeline.cli.completion import complete_study
from pipeline.cli.output import err, log, out, print_json
from pipeline.cli.selection import Selection
from pipeline.cli.shared_options import with_options_of
from pipeline.fronts.bounds import flag
from pipeline.fronts.numbers import mb, megabytes, millions, milliseconds, percent
from pipeline.study.records import BadInput
from pipeline.study.store import DEFAULT_STORE

if TYPE_CHECKING:
    from pipeline.export.card import Facts
    from pipeline.export.engines import EngineNetwork
    from pipeline.export.export import Exported
    from pipeline.export.int8 import Int8Network


@with_options_of(Selection)
def export(
    selection: Selection,
    *,
    study: Annotated[str, typer.Argument(help="Name of the study.", autocompletion=complete_study)],
    to: Annotated[Path, typer.Option(help="Folder to write: absent or empty.")],
    front: Annotated[
        bool, typer.Option("--front", help="Every network of the front, each into a folder: TO/1, TO/2 …")
    ] = False,
    trial: Annotated[
        int | None, typer.Option(min=0, help="A point of this trial's own front, not of the study's.")
    ] = None,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Also model.onnx, checked and timed in onnxruntime.")
    ] = False,
    openvino: Annotated[
        bool, typer.Option("--openvino", help="Also openvino_model.xml, checked and timed in OpenVINO.")
    ] = False,
    trim_vocabulary: Annotated[
        bool, typer.Option("--trim-vocabulary", help="Keep the tokens alone that the training rows need.")
    ] = False,
    keep_text: Annotated[
        Path | None, typer.Option(help="Trim, and keep the tokens of this text file, too.")
    ] = None,
    plain: Annotated[
        bool,
        typer.Option("--plain", help="A uniform network in transformers' own configuration: no code in it."),
    ] = False,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8",
            help="Also in 8-bit integers, measured on the same rows; refused beyond --max-drop or --min-metric.",
        ),
    ] = False,
    int8_kind: Annotated[
        list[str] | None,
        typer.Option(
            help="dynamic, static (onnxruntime) or torchao; repeatable, the fastest that holds is kept. "
            "[dim]Default: dynamic and static[/]"
        ),
    ] = None,
    push: Annotated[
        str | None, typer.Option(help="Also to this repository of the hub, OWNER/NAME; a new one is private.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="Where the task file is now, if it has moved.")] = None,
    tracking: Annotated[
        str | None,
        typer.Option(help="MLflow's address, as given to search. [dim]Default: in the store[/]"),
    ] = None,
    store: Annotated[Path, typer.Option(help="Folder of the store.")] = DEFAULT_STORE,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Write one network of a front as a folder that transformers loads, and measure it on the test rows.

    The folder has the cut network's weights, configuration, tokenizer, a model card, and the code that loads it. A
    network of a method on single weights keeps its size; its cut weights are zeros.
    """
    bounds = selection.bounds
    from pipeline.export.export import export as write

    options: dict[str, Any] = {
        "to": to,
        "store": store,
        "task": task,
        "onnx": onnx,
        "openvino": openvino,
        "trim_vocabulary": trim_vocabulary,
        "keep_text": keep_text,
        "plain": plain,
        "int8": int8_kind or int8,
        "tracking": tracking,
        "log": log,
    }
    if front:
        _refuse_choice(bounds.given, trial, push)
        from pipeline.export.whole_front import export_front

        each = export_front(study, **options)
    else:
        each = (write(study, trial=trial, push=push, **vars(bounds), **options),)
    for warning in dict.fromkeys(warning for done in each for warning in done.warnings):
        err.print(warning, style="yellow", markup=False, soft_wrap=True)
    if as_json:
        found = [exported_as_json(done) for done in each]
        print_json({"networks": found} if front else found[0])
        return
    for done in each:
        _print(done)


def _refuse_choice(given: tuple[str, ...], trial: int | None, push: str | None) -> None:
    """Refuse, with --front, options that name one network.

    Raises:
        BadInput: one is given.
    """
    named = [
        *(flag(name) for name in given),
        *(["--trial"] * (trial is not None)),
        *(["--push"] * (push is not None)),
    ]
    if named:
        raise BadInput(f"--front exports every network of the front. Leave {', '.join(named)} out.")


def exported_as_json(done: Exported) -> dict[str, Any]:
    """Return the JSON object of the command."""
    facts = done.facts
    return {
        "study": facts.front.spec.name,
        "folder": str(done.folder),
        "point": asdict(facts.point),
        "metric_name": facts.front.spec.metric_name,
        "validation": facts.point.metric,
        "test": facts.scores.parts,
        "test_rows": facts.scores.rows,
        "dense_metric": facts.front.spec.anchors.dense,
        "size_bytes": facts.size_bytes,
        "original": None if facts.original is None else asdict(facts.original),
        "latency": [asdict(each) for each in facts.times],
        "dense_test": None if facts.dense_scores is None else facts.dense_scores.parts,
        "onnx_difference": facts.onnx_difference,
        "engines": [with_speedups(each) for each in facts.engines],
        "int8": [with_speedups(form) | {"loss": form.loss} for form in facts.int8],
        "pushed": done.pushed,
        "mlflow_model": done.mlflow_model,
        "warnings": list(done.warnings),
    }


def with_speedups(form: Int8Network | EngineNetwork) -> dict[str, Any]:
    """Return a form of the network as JSON; each of its times says how many times as fast it is."""
    return asdict(form) | {"times": [asdict(time) | {"speedup": time.speedup} for time in form.times]}


def _print(done: Exported) -> None:
    from pipeline.export.in_turns import speed_said
    from pipeline.export.int8 import loss_said

    facts = done.facts
    spec, point, anchors = facts.front.spec, facts.point, facts.front.spec.anchors
    rows = {
        "folder": str(done.folder),
        "network": f"trial {point.trial}, {point.kind}, {percent(getattr(point, spec.share))} of the encoder "
        + ("zero" if spec.zeroes else "gone"),
        f"{spec.metric_name}, validation": f"{point.metric:.4f}  ({point.metric - anchors.dense:+.4f} against dense)",
    }
    first = facts.original
    if first is not None and first.encoder_parameters != anchors.dense_encoder_parameters:
        rows["before"] = (
            f"{percent(first.compression_of(point.encoder_parameters))} of its first encoder gone"
        )
    for part, scores in facts.scores.parts.items():
        rows[f"{spec.metric_name}, {part}"] = (
            f"{scores['metric']:.4f}  ({_dense_test(facts, part)}{facts.scores.rows[part]:,} rows)"
        )
    rows |= {
        "parameters": f"{millions(point.parameters)}  (dense {millions(anchors.dense_parameters)})",
        "size": f"{megabytes(facts.size_bytes)}  (dense {mb(anchors.dense_size_mb)} MB)",
    }
    for each in facts.times:
        bench = each.bench
        rows[f"latency, {bench.batch} × {bench.length}"] = (
            f"{milliseconds(each.ms)}{' ?' * each.disturbed}, {each.dense_ms / each.ms:.2f} × as fast as dense  "
            f"({bench.threads} thread(s), {bench.device})"
        )
    for network in facts.engines:
        rows[network.file] = f"outputs within {network.difference:.1g} of PyTorch's"
        rows |= {
            f"  {time.bench.batch} × {time.bench.length}, {network.name}": speed_said(time, "PyTorch")
            for time in network.times
        }
    for form in facts.int8:
        name = f"int8, {form.kind}" + " (kept)" * form.kept
        rows[name] = f"{form.validation:.4f} on validation, {loss_said(form)}; {megabytes(form.size_bytes)}"
        rows |= {
            f"  {time.bench.batch} × {time.bench.length}, {form.kind}": speed_said(time)
            for time in form.times
        }
    if done.mlflow_model is not None:
        rows["MLflow"] = done.mlflow_model
    if done.pushed is not None:
        rows["hub"] = done.pushed
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, value)
    out.print(table)
    out.print(f"\nHow to load it:  {done.folder / 'README.md'}", markup=False, soft_wrap=True)


def _dense_test(facts: Facts, part: str) -> str:
    """Return the dense network's score on the same rows, if it was measured."""
    dense = facts.dense_scores
    return "" if dense is None else f"dense {dense.parts[part]['metric']:.4f}; "
