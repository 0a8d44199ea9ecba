"""What people bring and no search can use: exit code 2, one message, and not a file written anywhere."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.kit.toy import environment, prunefront_here, write_model, write_task

GOOD = "".join(f"a bright story {row}\t{row % 2}\n" for row in range(40))


def rows(text: str, encoding: str = "utf-8") -> Callable[[Path], None]:
    """The task's training rows are these."""
    return lambda folder: (folder / "task" / "train.tsv").write_bytes(text.encode(encoding))


def file(name: str, content: bytes) -> Callable[[Path], None]:
    """The training rows are in a file of another name."""

    def change(folder: Path) -> None:
        (folder / "task" / name).write_bytes(content)
        task = folder / "task" / "task.toml"
        task.write_text(task.read_text().replace("train.tsv", name))

    return change


def line(text: str) -> Callable[[Path], None]:
    """The task file has one more line at its end, below [files]."""

    def change(folder: Path) -> None:
        task = folder / "task" / "task.toml"
        task.write_text(task.read_text() + text + "\n")

    return change


def config(**values: object) -> Callable[[Path], None]:
    """The model's config.json has other entries."""

    def change(folder: Path) -> None:
        path = folder / "model" / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def tokenizer(**values: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "model" / "tokenizer_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def model_file(name: str, content: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "model" / name).write_text(content)


def further_weights(folder: Path) -> None:
    path = folder / "model" / "model.safetensors"
    weights = load_file(path)
    spare = weights["bert.encoder.layer.0.output.dense.bias"].clone()
    save_file(weights | {"bert.encoder.layer.7.output.dense.bias": spare}, path, metadata={"format": "pt"})


def adapter_alone(folder: Path) -> None:
    shutil.rmtree(folder / "model")
    (folder / "model").mkdir()
    settings = {"peft_type": "LORA", "base_model_name_or_path": "nobody/nothing"}
    (folder / "model" / "adapter_config.json").write_text(json.dumps(settings))
    save_file({"query.lora_A.weight": torch.ones(2, 32)}, folder / "model" / "adapter_model.safetensors")


HEADER = "sentence\tlabel\n"
DATA = {
    "a row without a text": (rows(HEADER + GOOD + "\t1\n"), "row 41"),
    "a row without a label": (rows(HEADER + GOOD + "a b\t\n"), "row 41"),
    "one class": (rows(HEADER + "a b\t1\n" * 9), "two classes"),
    "latin-1": (rows(HEADER + "Größe\t1\n" + GOOD, "latin-1"), "latin-1"),
    "UTF-16": (rows(HEADER + GOOD, "utf-16"), "UTF-16"),
    "another column": (rows(GOOD), "no column 'sentence'"),
    "half a .gz": (file("t.tsv.gz", gzip.compress((HEADER + GOOD).encode())[:60]), "not a whole .gz"),
    "a spreadsheet": (file("t.xlsx", b"PK"), "save it as csv"),
    "a pickle": (file("t.pkl", b"\x80"), "can run code"),
    "a list for a text": (file("t.jsonl", b'{"sentence": ["a", "b"], "label": 1}\n'), "line 1"),
    "half a surrogate": (file("t.jsonl", b'{"sentence": "\\ud800", "label": 1}\n'), "line 1"),
    "no parquet": (file("t.parquet", b"PAR1"), "t.parquet"),
    "validation is train": (line('validation = "train.tsv"'), "train rows"),
    "a key of a task file": (line('trian = "x"'), "trian"),
}
MODELS = {
    "no padding": (tokenizer(pad_token=None), "padding token"),
    "quantised": (config(quantization_config={"load_in_8bit": True}), "quantised"),
    "no heads": (config(num_attention_heads=0), "num_attention_heads"),
    "unknown activation": (config(hidden_act="swoosh"), "swoosh"),
    "a decoder": (config(is_decoder=True), "encoder"),
    "cut by a newer version": (config(model_type="cut_bert", cut_format=99), "format 99"),
    "a pointer of LFS": (
        model_file("model.safetensors", "version https://git-lfs.github.com/spec/v1\n"),
        "git lfs",
    ),
    "an adapter beside it": (model_file("adapter_config.json", '{"peft_type": "LORA"}'), "merge_and_unload"),
    "an adapter without its model": (adapter_alone, "nobody/nothing"),
    "sentence-transformers of words": (
        model_file("modules.json", '[{"path": "", "type": "models.WordEmbeddings"}]'),
        "begins with an encoder",
    ),
    "layers that have no place": (further_weights, "no place for"),
}
OPTIONS = {
    "nan": (["--minutes", "nan"], "--minutes"),
    "inf": (["--cpus-per-trial", "inf"], "--cpus-per-trial"),
    "nobody's folder": (["--store", "~nosuchuser/store"], "nosuchuser"),
    "Databricks": (["--tracking", "databricks"], "Databricks"),
    "a folder for MLflow": (["--tracking", "./mlruns"], "./mlruns"),
    "a name with a slash": (["--name", "a/b"], "a/b"),
    "no such tracker": (["--also", "wandb:x"], "no tracker 'wandb'"),
    "a tracker's folder": (["--also", "tensorboard"], "tensorboard:FOLDER"),
    "an empty stack": (["--stack", "0"], "--stack is 0"),
}
BAD = {
    f"{kind}: {name}": case
    for kind, cases in (("data", DATA), ("model", MODELS))
    for name, case in cases.items()
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    write_task(folder / "task", rows=40)
    write_model(folder / "model")
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def check_refused(folder: Path, says: str, *options: str) -> None:
    before = files(folder)
    chosen = [] if "--store" in options else ["--store", str(folder / "store")]
    done = prunefront_here(
        "search", "--task", folder / "task" / "task.toml", "--model", folder / "model", *chosen, *options
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert says in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert "starting Ray" not in done.stderr
    assert files(folder) == before
    assert not (folder / "store").exists()


@pytest.mark.usefixtures("inline")
@pytest.mark.parametrize(("change", "says"), BAD.values(), ids=BAD.keys())
def test_nothing_is_written_of_what_no_search_can_use(
    whole: Path, tmp_path: Path, change: Callable[[Path], None], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "here"
    shutil.copytree(whole, folder)
    monkeypatch.chdir(folder)
    change(folder)
    check_refused(folder, says)


@pytest.mark.usefixtures("inline")
def test_nothing_is_written_of_options_that_no_search_can_use(
    whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(whole)
    for options, says in OPTIONS.values():
        check_refused(whole, says, *options)


# Of each line of stdin, a command as JSON: its exit code, what it said, and whether torch is imported by then.
LATE = """
import io, json, sys
from contextlib import redirect_stderr
from pipeline.cli.app import run
for line in sys.stdin:
    with redirect_stderr(io.StringIO()) as said:
        code = run(json.loads(line))
    print(json.dumps([code, said.getvalue(), "torch" in sys.modules]))
"""
MISTYPED: list[tuple[list[str], str]] = [
    (
        ["search", "--data", "revews.csv"],
        "There is no file or folder revews.csv. Did you mean reviews.csv?",
    ),
    (
        ["search", "--data", "reviews.csv"],
        "Which column of reviews.csv is the label? It has: review, stat.",
    ),
    (["plan", "--data", "reviews.csv", "--label", "stars"], "reviews.csv has no column 'stars'."),
    (["search", "--data", "reviews.csv", "--kind", "tokens", "--text", "reveiw"], "Did you mean review?"),
    (["search", "--task", "sst2"], "There is no task 'sst2'. Did you mean glue/sst2?"),
    (["search", "--task", "here.toml"], "here.toml names 'train.csv', and there is no train.csv."),
    (["sweep", "--tasks", "none.toml"], "none.toml cannot be read: No such file or directory."),
    (["sweep", "--methods", "snip", "fischer"], "There is no method 'fischer'. Did you mean fisher?"),
    (["init", "revews.csv"], "There is no file or folder revews.csv. Did you mean reviews.csv?"),
    (["init", "reviews.csv", "--label", "stars"], "reviews.csv has no column 'stars'."),
]


def test_what_is_mistyped_is_refused_before_torch_is_imported(tmp_path: Path) -> None:
    """All in one process: what one of them imported, the ones after it would show."""
    (tmp_path / "reviews.csv").write_text("review,stat\ngood,1\nbad,0\n")
    (tmp_path / "here.toml").write_text(
        'name = "a"\ntext = ["review"]\nlabel = "stat"\nmetric = "accuracy"\n[files]\ntrain = "train.csv"\n'
    )
    found = subprocess.run(
        [sys.executable, "-c", LATE],
        input="\n".join(json.dumps(arguments) for arguments, _ in MISTYPED),
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr
    rows = [json.loads(line) for line in found.stdout.splitlines()]
    for (arguments, message), (code, said, is_torch_there) in zip(MISTYPED, rows, strict=True):
        assert (code, is_torch_there) == (2, False), arguments
        assert message in " ".join(said.split()), arguments
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here.toml", "reviews.csv"]
