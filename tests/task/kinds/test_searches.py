"""Each kind of task from search to export, tiny and in this process: anchors, front, confirmation."""

from __future__ import annotations

import base64
import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

import prunefront
from pipeline.export.onnx import open_session
from pipeline.model.heads import HEADS
from pipeline.study.store import Store
from pipeline.task.kinds import KINDS
from tests.kit.inline import without_ray
from tests.kit.kinds import FROM_NOTHING, pictures, write_rows
from tests.kit.pages_folder import copy_study
from tests.kit.toy import QUICK_SPACE, prunefront_here, write_model

QUICK = QUICK_SPACE + "\n[learning_rate]\nvalue = 0.003\n"


@dataclass(frozen=True)
class Searched:
    """A study of a kind, of two trials, and one of another method on the same rows, which has the first of them."""

    kind: str
    name: str
    other: str
    store: Path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module", params=sorted(KINDS))
def searched(
    request: pytest.FixtureRequest, model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Searched]:
    kind, folder = request.param, tmp_path_factory.mktemp("searched")
    data = write_rows(folder / "data", kind)
    learns = QUICK.replace("low = 1\nhigh = 2\ndefault = 1", "value = 4") if kind == "images" else QUICK
    (folder / "quick.toml").write_text(learns)
    store = folder / "store"
    with pytest.MonkeyPatch.context() as patch:
        without_ray(patch)
        found = prunefront_here(
            "search", "--data", data, "--kind", kind, "--max-length", "16", "--trials", "2",
            "--model", FROM_NOTHING.get(kind, model), "--space", folder / "quick.toml", "--json",
            "--precision", "fp32", "--store", store, "--distill", "kd",
            *(() if kind in TIMED else ("--latency-grid", "none")),
        )  # fmt: skip
        assert found.returncode == 0, found.stderr[-1500:]
        name, other = json.loads(found.stdout)["study"], "first-trial"
        task = Store(store).study(name).read_spec().task
        copy_study(name, other, store=store, task=task, method="first-order")
        shutil.rmtree(store / "studies" / other / "trials" / "00001")
        yield Searched(kind, name, other, store)


def test_a_search_has_anchors_and_points(searched: Searched) -> None:
    study = Store(searched.store).study(searched.name)
    spec, (_, labels) = study.read_spec(), study.read_validation()
    assert spec.metric_name in KINDS[searched.kind].metrics
    assert len(labels) == spec.validation_rows
    assert spec.anchors.dense > spec.anchors.constant
    assert spec.anchors.constant >= 0 or spec.metric_name == "log_likelihood"
    records = [study.read_record(number) for number in study.finished_numbers()]
    assert [record.state for record in records] == ["complete"] * 2
    for record in records:
        assert {len(point.predictions) for point in record.points} == {len(labels)}


def test_halves_choose_and_score(searched: Searched) -> None:
    found = here(searched, "best", searched.name, "--halves", "--json")
    told = json.loads(found)["halves"]
    assert all(isinstance(told[name], float) for name in ("chosen_on", "scored_on"))


def test_a_point_is_confirmed_on_test_rows(searched: Searched) -> None:
    told = json.loads(here(searched, "confirm", searched.name, "--seeds", "2", "--json"))
    (point,) = told["points"]
    assert (told["missing"], point["failed"]) == (0, 0)
    mean = np.mean([each["metric"] for each in point["seeds"]])
    assert point["metric"]["mean"] == pytest.approx(mean)
    assert told["test_rows"] > 0


def test_studies_are_compared_on_one_page(searched: Searched, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    told = json.loads(here(searched, "compare", searched.name, searched.other, "--json", "--html", page))
    assert len(told["validation"]["worths"]) == 2
    assert told["metric_name"] == KINDS[searched.kind].metrics[0]
    assert KINDS[searched.kind].metrics[0] in page.read_text()
    here(searched, "report", searched.name, "--html", tmp_path / "report.html", "--no-track")
    assert "<title>" in (tmp_path / "report.html").read_text()


def test_an_export_is_what_the_library_runs(searched: Searched, tmp_path: Path) -> None:
    folder, of = tmp_path / "out", HEADS[KINDS[searched.kind].network]
    int8 = ("--int8",) if searched.kind in INT8 else ()
    onnx = () if of.outputs == ("logits",) else ("--onnx",)  # others are tried in tests/export
    here(searched, "export", searched.name, "--to", folder, "--point", "1", *onnx, *int8)
    card = (folder / "README.md").read_text()
    assert f"pipeline_tag: {of.pipeline}" in card
    USES[searched.kind](folder)
    if onnx:
        session = open_session(folder / "model.onnx")
        assert [entry.name for entry in session.get_outputs()] == [*of.outputs]
        assert f"{', '.join(of.outputs)} = session.run(" in card
    assert ("## In 8 bits" in card) == bool(int8)


def here(searched: Searched, *arguments: str | Path) -> str:
    found = prunefront_here(*arguments, "--store", searched.store)
    assert found.returncode == 0, found.stderr[-1500:]
    return found.stdout


def classes(folder: Path) -> None:
    found = loaded("text-classification", folder)("warm clumsy story", top_k=None)
    assert {each["label"] for each in found} == {"0", "1"}


def value(folder: Path) -> None:
    (found,) = loaded("text-classification", folder)("warm story", function_to_apply="none")
    assert isinstance(found["score"], float)


def picture(folder: Path) -> None:
    image = Image.open(io.BytesIO(base64.b64decode(pictures(1, np.random.default_rng(0))[0]["image"])))
    found = loaded("image-classification", folder)(image)
    assert {each["label"] for each in found} == {"left", "right"}


def further_text(folder: Path) -> None:
    found = loaded("text-generation", folder)("7 the story of", max_new_tokens=4, do_sample=False)
    assert found[0]["generated_text"].startswith("7 the story of ")


def tags(folder: Path) -> None:
    found = loaded("token-classification", folder)("the story of a bright warm river")
    assert {each["entity"] for each in found} <= {"B-GOOD", "I-GOOD", "B-BAD", "I-BAD"}
    assert all({"word", "score", "start"} <= each.keys() for each in found)


def answers(folder: Path) -> None:
    """transformers 5 has no pipeline of question answering any more: its class of such networks is the way."""
    auto: Any = transformers.AutoModelForQuestionAnswering
    network = auto.from_pretrained(folder, trust_remote_code=True).eval()
    batch = prunefront.load_tokenizer(folder)("how was it", "the story of a warm river", return_tensors="pt")
    with torch.inference_mode():
        theirs, ours = network(**batch), prunefront.load(folder)(**batch)
    torch.testing.assert_close(theirs.start_logits, ours.start_logits)
    torch.testing.assert_close(theirs.end_logits, ours.end_logits)


def relevance(folder: Path) -> None:
    found = loaded("text-classification", folder)({"text": "story 1", "text_pair": "warm"})
    assert (found if isinstance(found, dict) else found[0])["label"] == "relevance"


def label_set(folder: Path) -> None:
    found = loaded("text-classification", folder)("warm clumsy story", top_k=None)
    assert {each["label"] for each in found} == {"good", "bad"}


def vectors(folder: Path) -> None:
    """sentence-transformers gives what prunefront's own network does: the mean of its tokens, of length 1."""
    SentenceTransformer = pytest.importorskip("sentence_transformers").SentenceTransformer
    texts = ["the story of a warm river", "cold scene"]
    found = SentenceTransformer(str(folder), trust_remote_code=True, device="cpu").encode(texts)
    tokenizer, network = prunefront.load_tokenizer(folder), prunefront.load(folder)
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        ours = KINDS["embedding"]("cosine").outputs(network(**batch), batch)
    assert np.abs(found - ours.numpy()).max() < 1e-5


def loaded(task: str, folder: Path) -> Any:
    pipe: Any = transformers.pipeline
    return pipe(task, model=str(folder), trust_remote_code=True, device="cpu")


TIMED = {"classification", "images"}  # latency is of the encoder, whatever its outputs mean
INT8 = {"question-answering", "embedding"}  # what is not `logits`
USES = {
    "classification": classes,
    "regression": value,
    "images": picture,
    "language-model": further_text,
    "tokens": tags,
    "question-answering": answers,
    "ranking": relevance,
    "multi-label": label_set,
    "embedding": vectors,
}
