"""A point of a front becomes a folder that others load; the test rows are opened for it, once."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import pipeline
from pipeline.cli.app import run
from pipeline.driver.search.dense import dense_recipe
from pipeline.export import card
from pipeline.export.card import card as write_card
from pipeline.export.export import Exported, export
from pipeline.export.licence import in_card, licence_of
from pipeline.export.measured import score_dense_on_test
from pipeline.export.reopen import reopen
from pipeline.fronts.front import load_front
from pipeline.fronts.numbers import milliseconds
from pipeline.model.folder import BUILTIN
from pipeline.model.heads import CLASSIFIER
from pipeline.model.source import build
from pipeline.model.source import tokenizer as load_tokenizer_of
from pipeline.study.records import BadInput
from pipeline.study.store import Store
from pipeline.trial.anchors import dense_folder, write_dense
from pipeline.trial.latency import timing
from tests.kit.onetrial import NAME, Study
from tests.kit.tracking import SPEC

FILES = {
    "README.md", "config.json", "cut_blocks.py", "front.png", "model.onnx", "model.safetensors", "modeling_cut.py",
    "prunefront.json", "tokenizer.json", "tokenizer_config.json",
}  # fmt: skip


@pytest.fixture(scope="module")
def exported(made: Study, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "WHOLE_SECONDS", 0.1)
        return export(NAME, to=tmp_path_factory.mktemp("out") / "new" / "model", store=made.store, onnx=True)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "WHOLE_SECONDS", 0.1)


def rows_of(task_file: Path) -> tuple[list[str], list[str]]:
    """Sentences and labels of the test file, read without any of our code."""
    with (task_file.parent / "test.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [row["sentence"] for row in rows], [row["label"] for row in rows]


def predicted(folder: Path, sentences: list[str]) -> list[str]:
    model, tokenizer = pipeline.load(folder), pipeline.load_tokenizer(folder)
    inputs = tokenizer(sentences, padding=True, truncation=True, max_length=16, return_tensors="pt")
    with torch.no_grad():
        return [model.config.id2label[int(i)] for i in model(**inputs).logits.argmax(dim=-1)]


def test_the_folder_is_whole_and_predicts_what_was_recorded(exported: Exported, made: Study) -> None:
    assert {path.name for path in exported.folder.iterdir()} == FILES
    assert [path.name for path in exported.folder.parent.iterdir()] == ["model"]  # nothing beside it
    modes = {path.stat().st_mode & 0o777 for path in exported.folder.iterdir()}
    assert modes == {
        exported.folder.stat().st_mode & 0o666
    }  # as the umask has it: a server may read the weights
    sentences, labels = rows_of(made.task_file)
    right = np.mean(
        [p == label for p, label in zip(predicted(exported.folder, sentences), labels, strict=True)]
    )
    scores = exported.facts.scores
    assert scores.parts["test"]["metric"] == pytest.approx(right)
    assert scores.rows == {"test": len(labels)}
    assert Store(made.store).study(NAME).exports.read() == (scores,)
    assert exported.facts.size_bytes == (exported.folder / "model.safetensors").stat().st_size
    assert [each for each in exported.warnings if "other work" not in each] == []  # a busy machine is said


def test_it_is_the_knee_and_small_for_real(exported: Exported, made: Study) -> None:
    point = exported.facts.point
    assert point == load_front(NAME, store=made.store).knee
    model = pipeline.load(exported.folder)
    assert sum(p.numel() for p in model.parameters()) == point.parameters
    assert exported.facts.size_bytes < 4 * point.parameters + 20_000


def test_onnx_has_free_axes_and_computes_the_same(exported: Exported) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(exported.folder / "model.onnx"))
    model = pipeline.load(exported.folder)
    generator = torch.Generator().manual_seed(0)
    for shape in ((1, 1), (5, 3), (2, 16)):
        ids = torch.randint(5, int(model.config.vocab_size), shape, generator=generator)
        mask = torch.ones_like(ids)
        mask[-1, shape[1] // 2 + 1 :] = 0
        with torch.no_grad():
            expected = model(input_ids=ids, attention_mask=mask).logits.numpy()
        given = {
            "input_ids": ids.numpy(),
            "attention_mask": mask.numpy(),
            "token_type_ids": np.zeros(shape, int),
        }
        names = {entry.name for entry in session.get_inputs()}
        (logits,) = session.run(None, {name: given[name] for name in names})
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
    assert exported.facts.onnx_difference is not None
    assert exported.facts.onnx_difference < 1e-4


def test_the_card_has_what_the_record_has(exported: Exported) -> None:
    card = (exported.folder / "README.md").read_text()
    facts = exported.facts
    assert card.startswith("---\nlibrary_name: transformers\n")
    for said in (
        f"{facts.point.metric:.4f}",
        f"{facts.scores.metric:.4f}",
        f"{100 * facts.point.compression:.1f} %",
        "not measured: the machine was busy" if facts.times[1].disturbed else milliseconds(facts.times[1].ms),
        "trust_remote_code=True",
        "prunefront.load(",
        "onnxruntime.InferenceSession",
        "not stated where it came from",
        facts.front.spec.task_fingerprint,
        "(front.png)",
    ):
        assert said in card, said
    study = replace(facts.front.spec, model=BUILTIN)
    assert "trained from nothing" in write_card(replace(facts, front=replace(facts.front, spec=study)))
    record = json.loads((exported.folder / "prunefront.json").read_text())
    assert record["test"]["parts"]["test"]["metric"] == facts.scores.metric
    assert "host" not in record["provenance"] | record["exported_by"]
    heads = [len(kept) for kept in record["kept"]["heads"]]
    config = json.loads((exported.folder / "config.json").read_text())
    assert [row["heads"] for row in config["cut_layout"]] == [
        heads[layer] for layer in record["kept"]["layers"]
    ]
    bits = [
        np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8)) for text in record["kept"]["neurons_bits"]
    ]
    assert [row["neurons"] for row in config["cut_layout"]] == [
        int(bits[layer].sum()) for layer in record["kept"]["layers"]
    ]


def test_test_rows_are_opened_once(study: Study, tmp_path: Path) -> None:
    first = export(NAME, to=tmp_path / "first", store=study.store, compression=0.3)
    (study.task_file.parent / "test.tsv").write_text("no table at all\n")  # whoever opens it, fails
    again = export(NAME, to=tmp_path / "second", store=study.store, compression=0.3)
    assert again.facts.scores == first.facts.scores
    assert again.facts.onnx_difference is None
    assert (tmp_path / "second" / "model.safetensors").read_bytes() == (
        tmp_path / "first" / "model.safetensors"
    ).read_bytes()
    assert "not in MLflow" in again.warnings[-1]  # this copy of the store has none


def test_mlflow_has_the_model_at_its_trials_run(
    exported: Exported, made: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{Store(made.store).mlflow_db}")
    assert exported.mlflow_model is not None
    sentences, _ = rows_of(made.task_file)
    served = mlflow.pyfunc.load_model(exported.mlflow_model)
    answers = served.predict(pd.DataFrame({"sentence": sentences[:8]}))
    assert answers["label"].tolist() == predicted(exported.folder, sentences[:8])
    assert ((answers["score"] > 0.5) & (answers["score"] <= 1)).all()
    client = mlflow.MlflowClient()
    model = client.get_logged_model(exported.mlflow_model.removeprefix("models:/"))
    trial = client.get_run(str(model.source_run_id))
    assert trial.data.tags["prunefront.trial"] == "0"
    assert trial.info.status == "FINISHED"
    assert trial.data.metrics["test/accuracy"] == pytest.approx(exported.facts.scores.metric)
    assert model.model_id in [output.model_id for output in trial.outputs.model_outputs]


def test_a_network_that_is_gone_is_trained_again_and_said_to_be(study: Study, tmp_path: Path) -> None:
    Store(study.store).study(NAME).weights.keep_only([])
    done = export(NAME, to=tmp_path / "out", store=study.store)
    record = json.loads((tmp_path / "out" / "prunefront.json").read_text())
    # on the same machine and threads it comes out the same
    assert record["retrained"]["recorded"] == pytest.approx(record["retrained"]["metric"])
    assert not any("trained again" in warning for warning in done.warnings)


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"trial": 7}, r"no ended trial 7 \(it has 0 to 0\)"),
        (
            {"compression": 0.999},
            r"has no point with compression >= .*It offers metrics of .* at compressions",
        ),
        ({"max_drop": 0.0, "compression": 0.999}, "It offers metrics"),
        ({"max_latency_ms": 1.0}, "latencies not measured"),
    ],
)
def test_what_the_front_does_not_offer(
    made: Study, bounds: dict[str, float], message: str, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=message):
        export(NAME, to=tmp_path / "out", store=made.store, **bounds)
    assert list(tmp_path.iterdir()) == []


def test_unknown_studies_and_folders_in_use(made: Study, exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no study 'other'. Its studies: toy"):
        export("other", to=tmp_path / "out", store=made.store)
    with pytest.raises(BadInput, match="a folder with files in it"):
        export(NAME, to=exported.folder, store=made.store)
    with pytest.raises(BadInput, match="--push is 'a/b/c'"):
        export(NAME, to=tmp_path / "out", store=made.store, push="a/b/c")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_export_leaves_nothing(
    made: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.export.export.card", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export(NAME, to=tmp_path / "out", store=made.store)
    assert list(tmp_path.iterdir()) == []


def test_the_command(study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    to = ["--to", str(tmp_path / "out"), "--store", str(study.store)]
    assert run(["export", NAME, *to, "--max-drop", "0.1", "--knee"]) == 2
    assert "--max-drop and --knee name different points" in capsys.readouterr().err
    assert run(["export", NAME, *to, "--trial", "0", "--compression", "0.2", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["folder"] == str(tmp_path / "out")
    assert printed["point"]["compression"] >= 0.2
    assert printed["test"]["test"]["metric"] == pytest.approx(
        json.loads((tmp_path / "out" / "prunefront.json").read_text())["test"]["parts"]["test"]["metric"]
    )
    assert run(["export", NAME, *to]) == 2
    assert "a folder with files in it" in capsys.readouterr().err


def test_no_text_of_a_study_adds_to_the_head_of_a_card() -> None:
    texts = ("x\nmodel-index: theirs", "mit\n---\n# theirs")
    made = replace(SPEC, model=texts[0], model_fingerprint="f@1")
    facts = SimpleNamespace(front=SimpleNamespace(spec=made), licence=texts[1], network=CLASSIFIER)
    whole = card._head(facts)  # type: ignore[arg-type]
    head = yaml.safe_load(whole.removeprefix("---\n").removesuffix("---"))
    assert sorted(head) == ["base_model", "library_name", "license", "pipeline_tag", "tags"]
    assert (head["base_model"], head["license"]) == texts


def test_licences(tmp_path: Path) -> None:
    head = "---\nlanguage: en\nlicense: apache-2.0\ntags:\n- x\n---\n# Model\nlicense: gpl\n"
    assert in_card(head) == "apache-2.0"
    assert in_card("# Model\nlicense: mit\n") is None
    (tmp_path / "README.md").write_text(head)
    assert licence_of(str(tmp_path)) == "apache-2.0"
    for entry, licence in {
        'license: "mit"': "mit",
        "license:\n- apache-2.0": "apache-2.0",
        "license: [mit, apache-2.0]": None,  # which of them, a card does not say
        "license:\ntags:\n- x": None,  # an empty entry is not the next one's name
        "license: |\n  two\n  lines": None,
        "license: [": None,
    }.items():
        assert in_card(f"---\n{entry}\n---\n") == licence, entry
    assert licence_of("somebody/nothing") is None  # the hub is not reached from here


def test_the_dense_network_is_scored_on_the_same_rows_once(study: Study, tmp_path: Path) -> None:
    """Its weights are in the store's cache, where a search puts them; without them the card says so."""
    store = Store(study.store)
    opened = reopen(store, NAME)
    model, _ = build(opened.inputs.source, seed=3)
    spec = opened.spec
    folder = dense_folder(
        store.cache,
        task_fingerprint=spec.task_fingerprint,
        model_fingerprint=spec.model_fingerprint,
        recipe=dense_recipe(spec.method, opened.inputs.source),
    )
    assert score_dense_on_test(opened) is None
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    about = {"metric": spec.anchors.dense, "learning_rate": 1e-3}
    write_dense(
        folder, [SimpleNamespace(weights=weights, **about)], dense_recipe("snip", opened.inputs.source)
    )
    sentences, labels = rows_of(study.task_file)
    tokenizer = load_tokenizer_of(opened.inputs.source)
    inputs = tokenizer(sentences, padding=True, truncation=True, max_length=16, return_tensors="pt")
    with torch.no_grad():
        found = [model.config.id2label[int(i)] for i in model(**inputs).logits.argmax(dim=-1)]
    right = np.mean([each == label for each, label in zip(found, labels, strict=True)])
    done = export(NAME, to=tmp_path / "model", store=study.store)
    assert done.facts.dense_scores is not None
    assert done.facts.dense_scores.metric == pytest.approx(right)
    rows = [line for line in (done.folder / "README.md").read_text().splitlines() if "(test," in line]
    assert rows[0].endswith(f"| {right:.4f} |")
    assert len(store.study(NAME).exports.read()) == 2  # that of the dense network, and of the exported one
    folder.joinpath("dense.json").unlink()
    assert score_dense_on_test(opened) is None
