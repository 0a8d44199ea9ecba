"""The options of a search: written once, the same on the command line, in Python and in manifests."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, get_args, get_type_hints

import pytest
import typer

import pipeline
from pipeline.cli.app import app
from pipeline.cli.shared_options import with_options_of
from pipeline.driver.cluster import arguments
from pipeline.driver.execute import Resources
from pipeline.driver.search import api
from pipeline.driver.search.grid import requests_of
from pipeline.driver.search.option import Option, options_of
from pipeline.driver.search.request import HOW, KEPT, SCHEDULERS, WHAT, Search
from pipeline.driver.search.watcher import SilentWatcher
from pipeline.methods.registry import METHODS
from pipeline.model.folder import BUILTIN, TINY_GPT2, TINY_VIT
from pipeline.study.choices import COMPILE_OFF
from pipeline.study.ledger.samplers import SAMPLERS
from pipeline.study.records import BadInput
from pipeline.study.store import DEFAULT_STORE
from pipeline.task.place import DIGITS
from pipeline.trial.distillation import DISTILLATIONS, NONE
from pipeline.trial.training.precision import Precision

CHOICES = {field.name: field.option.choices for field in options_of(Search) if field.option.choices}
FIELDS = [field.name for field in fields(Search)]
COMMANDS: Any = typer.main.get_command(app)


def click_option(command: str, name: str) -> Any:
    return next(each for each in COMMANDS.commands[command].params if each.name == name)


@pytest.mark.parametrize("command", ["search", "plan", "cluster"])
@pytest.mark.parametrize("name", FIELDS)
def test_every_field_is_an_option_of_the_commands(command: str, name: str) -> None:
    (field,) = (each for each in fields(Search) if each.name == name)
    option = click_option(command, name)
    assert option.opts[0] == f"--{name.replace('_', '-')}"
    assert option.secondary_opts == [], "a flag has no --no-…"
    default = () if option.default is None and field.default == () else option.default
    assert default == (str(DEFAULT_STORE) if name == "store" else field.default)
    (metadata,) = get_type_hints(Search, include_extras=True)[name].__metadata__
    assert (option.help, option.rich_help_panel) == (metadata.help, metadata.panel)
    assert option.envvar == ("MLFLOW_TRACKING_URI" if name == "tracking" else None)


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_is_an_argument_in_python(name: str) -> None:
    parameter = inspect.signature(pipeline.search).parameters[name]
    assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
    assert parameter.default in (None, getattr(Search(), name))  # None: it follows from other options
    assert parameter.default is not MISSING


def test_python_has_no_other_arguments() -> None:
    assert [*inspect.signature(pipeline.search).parameters] == ["request", *FIELDS, "watcher"]


def test_a_usual_search_by_hand() -> None:
    """What the command and Python have promised so far."""
    search = Search()
    assert (search.task, search.model, search.method) == (DIGITS, TINY_VIT, "snip")
    assert (search.trials, search.seed, search.checkpoint_seconds) == (5, 0, 60.0)
    assert (search.sampler, search.scheduler, search.precision) == ("tpe", "asha", "auto")
    assert (search.distill, search.compile, search.keep_weights) == (NONE, COMPILE_OFF, "front")
    assert search.store == Path("mlflow_runs")
    assert search.resources == Resources() == Resources(None, None, 1.0, None)
    assert search.method in METHODS
    assert search.scheduler in SCHEDULERS
    assert search.keep_weights in KEPT


@pytest.mark.parametrize(
    ("task", "model"),
    [
        ("builtin/docstrings", BUILTIN),
        ("reviews.csv", BUILTIN),
        (DIGITS, TINY_VIT),
        ("builtin/docstrings-language-model", TINY_GPT2),
    ],
)
def test_the_model_follows_from_the_task_where_none_is_given(task: str, model: str) -> None:
    assert Search(task=task).model == model
    assert Search(task=task, model="bert-base-uncased").model == "bert-base-uncased"
    (swept,) = requests_of(Search(), tasks=(task,), models=(), methods=(), seeds=1)
    assert swept.model == model


def test_a_search_or_its_options_give_the_same_request(monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[Search] = []
    watchers: list[object] = []
    front = SimpleNamespace()

    def run(request: Search, watcher: object) -> object:
        requests.append(request)
        watchers.append(watcher)
        return front

    monkeypatch.setattr(api, "run", run)
    own = SilentWatcher()
    assert api.search(Search(task="glue/sst2", trials=7, store=Path("a"))) is front
    assert api.search(task="glue/sst2", trials=7, store="a", watcher=own) is front
    assert requests[0] == requests[1] == Search(task="glue/sst2", trials=7, store=Path("a"))
    assert isinstance(watchers[0], SilentWatcher)
    assert watchers[1] is own
    with pytest.raises(TypeError, match="not both"):
        api.search(Search(), trials=3)
    with pytest.raises(TypeError, match="trails"):
        api.search(trails=3)


def test_resources_and_budget_come_from_the_options() -> None:
    search = Search(
        address="auto", concurrent=3, cpus_per_trial=2.0, gpus_per_trial=0.5, trials=9, minutes=4.0
    )
    assert search.resources == Resources("auto", 3, 2.0, 0.5)
    assert (search.budget.trials, search.budget.minutes, search.budget.gpu_hours) == (9, 4.0, None)


@pytest.mark.parametrize("store", ["gs://bucket/runs", "http://host/runs"])
def test_a_store_is_a_folder_or_a_bucket_of_s3(store: str) -> None:
    with pytest.raises(BadInput, match=f"--store is {store}"):
        Search(store=store)  # type: ignore[arg-type]


def test_paths_may_be_text() -> None:
    search = Search(store="s3://bucket/runs", space="own.toml")  # type: ignore[arg-type]
    assert (search.store, search.space) == (Path("s3://bucket/runs"), Path("own.toml"))
    assert arguments(search) == ["search", "--space", "own.toml", "--store", "s3://bucket/runs"]


@dataclass(frozen=True)
class Wish:
    size: Annotated[int, Option("How big.", WHAT, environment="WISH_SIZE")] = 2
    words: Annotated[tuple[str, ...], Option("Several.", HOW)] = ()
    loud: Annotated[bool, Option("A flag.", HOW)] = False


def test_a_command_receives_an_instance_and_its_own_options(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    received: list[tuple[Wish, int]] = []

    @with_options_of(Wish)
    def command(wish: Wish, *, times: Annotated[int, typer.Option()] = 1) -> None:
        received.append((wish, times))

    small = typer.Typer()
    small.command()(command)
    small([], standalone_mode=False)
    small(["--words", "a", "--loud", "--words", "b c", "--times", "3"], standalone_mode=False)
    monkeypatch.setenv("WISH_SIZE", "5")
    small([], standalone_mode=False)
    small(["--size", "4"], standalone_mode=False)
    assert received == [
        (Wish(), 1),
        (Wish(words=("a", "b c"), loud=True), 3),
        (Wish(size=5), 1),
        (Wish(size=4), 1),
    ]


@dataclass(frozen=True)
class Bare:
    size: int = 2


def test_a_field_without_an_option_is_an_error() -> None:
    with pytest.raises(TypeError, match=r"Bare\.size has 0 options"):
        options_of(Bare)


def test_the_options_are_read_without_torch_or_ray() -> None:
    """`--help` must be quick."""
    heavy = ("torch", "ray", "transformers", "datasets", "mlflow")
    code = (
        f"import sys, json, pipeline.cli.app; print(json.dumps([m for m in {heavy!r} if m in sys.modules]))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == []


def test_choices_are_those_of_the_code_that_has_them() -> None:
    assert set(CHOICES["distill"]) == {NONE, *DISTILLATIONS}
    assert set(CHOICES["sampler"]) == set(SAMPLERS)
    assert all(name in CHOICES["precision"] for name in ("auto", *get_args(Precision)))
    assert len(CHOICES) == 8


def test_a_mistyped_choice_is_refused_before_torch_is_imported() -> None:
    code = """
import sys
from pipeline.driver.search.early import check_early
from pipeline.driver.search.request import Search
from pipeline.study.records import BadInput
for name in sys.argv[1:]:
    try:
        check_early(Search(**{name: "nonee"}))
        print(name, "was taken")
    except BadInput as fault:
        print(fault)
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code, *CHOICES], capture_output=True, text=True, check=True)
    *messages, torch_is_there = done.stdout.splitlines()
    assert torch_is_there == "False"
    assert [text.split()[0] for text in messages] == [f"--{name.replace('_', '-')}" for name in CHOICES]
    assert "--scheduler is 'nonee'. Did you mean none? It is one of asha, none." in messages
