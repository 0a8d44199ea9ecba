"""From a point of a front to a folder: network, checkpoint, test rows, card, ONNX, hub; in this order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.export import hub
from pipeline.export.card import CARD, FIGURE, Facts, card
from pipeline.export.checkpoint import (
    WEIGHTS,
    add_entries,
    check_free,
    check_writable,
    layout,
    load,
    load_plain,
    whole_folder,
    write_checkpoint,
    write_plain,
    write_record,
    write_sentence_files,
)
from pipeline.export.choice import choose_point, find_point
from pipeline.export.engines import (
    ENGINES,
    ONNX,
    OPENVINO,
    EngineNetwork,
    check_engines,
    make_engines,
)
from pipeline.export.in_int8 import in_int8, keep, tested
from pipeline.export.int8 import ONNX_KINDS, check_kinds
from pipeline.export.licence import licence_of
from pipeline.export.measured import (
    check_same,
    cpu_benches,
    disturbed,
    latencies,
    score_dense_on_test,
    score_on_test,
)
from pipeline.export.network import Network, network_of
from pipeline.export.plain import check_plain
from pipeline.export.provenance import record_of
from pipeline.export.reopen import Reopened, reopen
from pipeline.export.to_mlflow import publish, reach_tracker
from pipeline.export.trimmed import Made, read_text, trim
from pipeline.fronts.bounds import Bounds
from pipeline.fronts.figures import Series, dots, front_figure, still
from pipeline.fronts.front import Front
from pipeline.fronts.pick import least_metric, why
from pipeline.model.head import give_values
from pipeline.model.heads import HEADS
from pipeline.study.records import BadInput
from pipeline.study.store import DEFAULT_STORE, Store, TestScores, Timed

Log = Callable[[str], None]

EARLIER = {"compression": "min_compression", "sparsity": "min_sparsity"}  # names of bounds


@dataclass(frozen=True)
class Wanted:
    """What else is in the folder, checked: engines, no code of ours, 8-bit kinds with their least metric."""

    engines: tuple[str, ...]
    plain: bool
    int8: tuple[str, ...]
    least: float


@dataclass(frozen=True)
class Exported:
    """An exported folder, with what its model card holds; `warnings` are messages for the user."""

    folder: Path
    facts: Facts
    pushed: str | None = None  # where it can be seen
    mlflow_model: str | None = None  # models:/…
    warnings: tuple[str, ...] = ()


def export(
    study: str,
    *,
    to: Path | str,
    trial: int | None = None,
    exactly: tuple[int, int] | None = None,
    store: Path | str = DEFAULT_STORE,
    task: str | None = None,
    onnx: bool = False,
    openvino: bool = False,
    trim_vocabulary: bool = False,
    keep_text: Path | str | None = None,
    plain: bool = False,
    int8: bool | str | Sequence[str] = False,
    push: str | None = None,
    tracking: str | None = None,
    log: Log = lambda _: None,
    **bounds: Any,
) -> Exported:
    """Write one network of a study into a new folder that transformers loads, and measure it on the test rows, once.

    Without a bound it is the smallest network within 0.01 of the dense metric, or the knee where there is none.

    Args:
        study: its name.
        to: a folder that is absent or empty; it appears whole or not at all.
        trial: choose among this trial's networks, not on the study's front.
        exactly: the trial and the point of the network, in place of a choice.
        store: the folder of the store.
        task: where the task is now, if it has moved.
        onnx: also write model.onnx, checked against PyTorch and timed beside it in onnxruntime.
        openvino: also write openvino_model.xml, checked and timed in the same way in OpenVINO.
        trim_vocabulary: keep the tokens alone that the task's training rows need.
        keep_text: a text file whose tokens are kept, too; trims the vocabulary.
        plain: in the library's own configuration, without code of ours.
        int8: also in 8-bit integers: True for the faster of "dynamic" and "static" (onnxruntime), or kinds by name,
            "torchao" among them. Measured on the same rows, and refused below max_drop or min_metric.
        push: also upload to this repository on the hub.
        tracking: MLflow's address; by default in the store.
        log: called with a line at each step.
        bounds: of `pick`, such as max_drop=0.01; `compression` and `sparsity` are earlier names of min_compression and
            min_sparsity.

    Returns:
        The folder, with what its model card holds.

    Raises:
        BadInput: no such study, trial or network, a folder in use, a task that changed, an extra that is missing, 8
            bits cost more of the metric than the bounds allow, or the hub refuses the upload.
    """
    trimmed_to = read_text(keep_text) if keep_text is not None else () if trim_vocabulary else None
    asked = Bounds(**{EARLIER.get(name, name): value for name, value in bounds.items()})
    folder, files = folder_of(to), Store(Path(store))
    if exactly is not None:
        front, chosen = find_point(files, study, *exactly)
    else:
        front, chosen = choose_point(files, study, asked, trial=trial)
        if reason := why(front, asked, chosen):
            log(reason)
    check_free(folder)
    engines = check_engines([name for name, asked_for in ((ONNX, onnx), (OPENVINO, openvino)) if asked_for])
    wanted = Wanted(engines, plain, check_kinds(_kinds(int8)), least_metric(front, asked))
    if push is not None:
        hub.check_name(push)
    tracker, warnings = reach_tracker(tracking, files)
    log(f"making the network of trial {chosen.trial} …")
    if files.study(study).weights.of_point(chosen) is None:
        log("its weights are not kept: it is trained again, which takes as long as its trial …")
    opened = reopen(files, study, task=task)
    check_writable(opened.inputs.source)
    if plain:
        check_plain(opened, chosen)
    made = Made(opened, network_of(opened, chosen.trial, chosen.point, on_epoch=_epochs(log)), chosen)
    if trimmed_to is not None:
        log("trimming its vocabulary …")
        made = trim(made, trimmed_to)
    with whole_folder(folder) as part:
        done = _write(part, made, front, wanted, original=opened, log=log)
    done = replace(done, folder=folder, warnings=(*done.facts.warnings, *done.facts.data.remarks, *warnings))
    if tracker is not None:
        log("publishing it …")
        uri, lost = publish(tracker, folder, done.facts, opened.task)
        done = replace(done, mlflow_model=uri, warnings=(*done.warnings, *lost))
    if push is not None:
        log(f"uploading to {push} …")
        done = replace(done, pushed=hub.push(folder, push))
    return done


def folder_of(to: Path | str) -> Path:
    """Return the whole path of the folder that is written.

    Raises:
        BadInput: it is below the home of a user who does not exist.
    """
    try:
        return Path(to).expanduser().resolve()
    except RuntimeError as error:
        raise BadInput(f"{to} names a user who does not exist. --to is a folder.") from error


def _kinds(int8: bool | str | Sequence[str]) -> tuple[str, ...]:
    """Return the 8-bit kinds that are asked for."""
    if isinstance(int8, bool):
        return ONNX_KINDS if int8 else ()
    return (int8,) if isinstance(int8, str) else tuple(int8)


def _write(part: Path, made: Made, front: Front, wanted: Wanted, *, original: Reopened, log: Log) -> Exported:
    """Write all that is in the folder. What may be refused comes before the test rows are read.

    `original` is the study before its vocabulary was trimmed: its dense network has all words.
    """
    opened, network, point = _with_values(made.study), made.network, made.point
    give_values(network.model, made.study.inputs.kind.output_scale)
    source = opened.inputs.source
    write, read = (write_plain, load_plain) if wanted.plain else (write_checkpoint, load)
    write(part, network.model, network.anatomy, tokenizer_files=source.tokenizer_files)
    if not HEADS[source.network].layer:
        write_sentence_files(
            part,
            pooling=str(source.config.get("sentence_pooling", "mean")),
            width=int(source.config["hidden_size"]),
            max_length=opened.task.max_length,
        )
    written = read(part)
    check_same(written, network.model, opened)
    inputs = replace(opened.inputs, kind=opened.inputs.fitted_kind(written, precision="fp32"))
    add_entries(part, inputs.kind.reading)
    log("timing it …")
    times = latencies(opened, network, point)
    engines: tuple[EngineNetwork, ...] = ()
    if wanted.engines:
        log(f"writing it for {', '.join(ENGINES[name].package for name in wanted.engines)} …")
        engines = make_engines(written, inputs, part, names=wanted.engines, benches=cpu_benches(times))
    forms = None
    if wanted.int8:
        log(f"writing it in 8 bits: {', '.join(wanted.int8)} …")
        onnx = part / ENGINES[ONNX].file if ONNX in wanted.engines else None
        forms = in_int8(part, inputs, written, times, kinds=wanted.int8, least=wanted.least, onnx=onnx)
        if made.study is original:  # a trimmed network is not the point's
            keep(forms[0], opened, point)
    log("measuring it on the test rows …")
    scores = score_on_test(opened, (point.trial, point.point), written, weights=part / WEIGHTS)
    networks = opened.store.study(front.spec.name).read_points().points()
    (part / FIGURE).write_bytes(still(front_figure([Series(front.spec, dots(networks))])))
    facts = replace(
        _facts(made, front, scores, times, (part / WEIGHTS).stat().st_size),
        dense_scores=score_dense_on_test(original),
        plain=wanted.plain,
        network=source.network,
        reading=inputs.kind.reading,
        engines=engines,
        int8=() if forms is None else tested(inputs, opened.tests, *forms),
    )
    (part / CARD).write_text(card(facts))
    write_record(part, record_of(facts, network))
    return Exported(part, facts)


def _with_values(opened: Reopened) -> Reopened:
    """Return the study for networks that give values, as an exported one does."""
    return replace(opened, inputs=replace(opened.inputs, kind=opened.inputs.kind.with_values()))


def _facts(made: Made, front: Front, scores: TestScores, times: tuple[Timed, ...], size_bytes: int) -> Facts:
    opened, network = made.study, made.network
    anatomy, record = network.anatomy, network.record
    return Facts(
        front=front,
        point=made.point,
        scores=scores,
        times=times,
        size_bytes=size_bytes,
        licence=licence_of(opened.inputs.source.name),
        provenance=record.provenance,
        seed=record.seed,
        length=opened.inputs.length,
        layout=layout(anatomy),
        dense_layers=anatomy.dense_layers,
        dense_heads=anatomy.heads_per_layer,
        dense_neurons=anatomy.neurons_per_layer,
        warnings=(*_retrained(network), *disturbed(times), *made.remarks),
        data=opened.store.study(opened.spec.name).data.read(),
        original=opened.inputs.source.original,
        network=opened.inputs.source.network,
    )


def _retrained(network: Network) -> tuple[str, ...]:
    """Return a warning if the network was trained again and differs from its record."""
    again = network.retrained
    if again is None or not again.differs:
        return ()
    return (
        f"The weights of this network were gone, so it was trained again: its metric on validation is now "
        f"{again.metric:.4f}, recorded was {again.recorded:.4f}, more than two standard errors "
        f"({again.standard_error:.4f}) apart.",
    )


def _epochs(log: Log) -> Callable[[dict[str, float]], None]:
    return lambda values: log(f"training it again: epoch {values['epoch']:.1f} of {values['epochs']:.1f} …")
