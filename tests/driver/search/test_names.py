"""Default names of studies: one for each task and model, valid whatever script they are written in."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.driver.search.names import default_name, earlier_name
from pipeline.driver.search.request import Search
from pipeline.driver.search.resolved import _own_name
from pipeline.study.store import Store
from pipeline.study.store.checks import check_name
from tests.kit.synthetic import spec


def name_of(task: str, model: str = "org/minilm", **options: Any) -> str:
    name = default_name(Search(model=model, **options), SimpleNamespace(name=task))  # type: ignore[arg-type]
    check_name(name)
    return name


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("sst2", "sst2-minilm-snip"),
        ("glue/sst2", "sst2-minilm-snip"),
        ("my task", "my-task-minilm-snip"),
        ("--task--", "task-minilm-snip"),
    ],
)
def test_plain_names(task: str, name: str) -> None:
    assert name_of(task) == name


def test_names_in_any_script_are_valid_and_differ() -> None:
    tasks = [
        "评论",
        "意见",
        "отзывы",
        "Größe",
        "Grüße",
        "Grosse",
        "Gro e",
        "é",
        "e",
        "..",
        "-",
        "🙂",
        "a" * 120,
        "a" * 121,
    ]
    names = [name_of(task) for task in tasks]
    assert len(set(names)) == len(tasks)
    assert max(map(len, names)) <= 100


def test_folders_of_models_have_names_of_their_own(tmp_path: Path) -> None:
    folders = [
        "models/a",
        "models/b",
        "x/model",
        "y/model",
        "run/checkpoint-500",
        "run/checkpoint-900",
        "größe/評",
    ]
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
    names = [name_of("t", str(tmp_path / folder)) for folder in folders]
    assert names[:6] == [
        "t-a-snip",
        "t-b-snip",
        "t-x-snip",
        "t-y-snip",
        "t-run-checkpoint-500-snip",
        "t-run-checkpoint-900-snip",
    ]
    assert len(set(names)) == len(folders)


def test_a_study_of_an_earlier_version_goes_on_under_its_name(tmp_path: Path) -> None:
    (tmp_path / "models" / "a").mkdir(parents=True)
    request, task = Search(model=str(tmp_path / "models" / "a")), SimpleNamespace(name="t")
    assert earlier_name(request, task) == "t-models-snip"  # type: ignore[arg-type]
    store = Store(tmp_path / "store")
    names = ("t-models-snip", "t-a-snip")
    ours, other = SimpleNamespace(fingerprint="a" * 64), SimpleNamespace(fingerprint="b" * 64)
    assert _own_name(store, names, ours) == "t-a-snip"  # type: ignore[arg-type]
    store.write_spec(replace(spec("t-models-snip"), model_fingerprint="a" * 64))
    assert _own_name(store, names, ours) == "t-models-snip"  # type: ignore[arg-type]
    assert _own_name(store, names, other) == "t-a-snip"  # type: ignore[arg-type]
    store.write_spec(replace(spec("t-a-snip"), model_fingerprint="c" * 64))
    assert _own_name(store, names, other) == "t-a-snip-bbbbbb"  # type: ignore[arg-type]
    assert _own_name(store, ("--", "t-a-snip"), other) == "t-a-snip-bbbbbb"  # type: ignore[arg-type]
