"""A search of the user's own fine-tuned network: it is the dense anchor, and nothing is trained that need not be."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from pipeline.driver.search.check import check
from pipeline.driver.search.own import check_learned, starts_from_own
from pipeline.driver.search.request import Search
from pipeline.model.head import HeadMatch
from pipeline.model.heads import Head
from pipeline.model.resolve import resolve_model
from pipeline.model.source import ModelSource
from pipeline.study.records import BadInput
from pipeline.study.store import Store
from tests.kit.fitted import rename_outputs
from tests.kit.synthetic import spec
from tests.kit.toy import prunefront_here, write_model, write_task


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return write_task(tmp_path_factory.mktemp("own") / "task", rows=240)


@pytest.fixture(scope="module")
def fitted(task):
    folder = write_model(task.parent / "fitted")
    rename_outputs(folder, ["0", "1"])
    return folder


@pytest.fixture(scope="module")
def store(task):
    """One for all: MLflow's database is made once."""
    return task.parent / "store"


@pytest.fixture
def model(fitted, tmp_path):
    return shutil.copytree(fitted, tmp_path / "mine" / "model")


def search(task, model, store, *options):
    return prunefront_here(
        "search",
        "--task",
        task,
        "--model",
        model,
        "--store",
        store,
        "--latency-grid",
        "none",
        "--json",
        *options,
    )


UNTRAINED = ("--no-training", "--method", "first-order")


@pytest.mark.usefixtures("inline")
def test_a_front_without_a_step_of_training(task, model, store):
    done = search(task, model, store, *UNTRAINED)
    assert done.returncode == 0, done.stderr
    front = json.loads(done.stdout)
    assert (front["study"], front["trials"], front["epochs"]) == ("toy-mine-first-order-no-training", 1, 0.0)
    assert front["dense_is_own"]
    assert "no step of training is made" in done.stderr
    assert "training the dense" not in done.stderr
    study = Store(store).study(front["study"])
    frozen, record = study.read_spec(), study.read_record(0)
    assert (frozen.own, frozen.anchors.dense_epochs, record.epochs) == (True, 0.0, 0.0)
    uncut = record.points[0]
    assert uncut.measurement.compression == 0.0
    assert uncut.measurement.metric == frozen.anchors.dense  # the network as it came, bit for bit
    assert len(record.points) > 10

    confirmed = prunefront_here("confirm", frozen.name, "--store", store, "--points", "2", "--json")
    assert confirmed.returncode == 0, confirmed.stderr
    assert "nothing is trained in this study: " in confirmed.stderr
    found = json.loads(confirmed.stdout)
    assert found["missing"] == 0
    for point in found["points"]:
        assert (len(point["seeds"]), point["seeds"][0]["seed"]) == (1, record.seed)
        assert (
            point["validation"]["mean"] == point["selected"]
        )  # the network of the front, not another one like it


@pytest.mark.usefixtures("inline")
def test_a_head_in_another_order_gives_the_same_search(task, model, store):
    straight = Store(store).study("toy-mine-first-order-no-training").read_record(0)  # of the test above
    rename_outputs(model, ["1", "0"], order=[1, 0])
    done = search(task, model, store, "--name", "turned", *UNTRAINED)
    assert done.returncode == 0, done.stderr
    assert "put into the task's order: 0, 1" in done.stderr
    turned = Store(store).study("turned").read_record(0)
    for one, other in zip(straight.points, turned.points, strict=True):
        assert one.masks.same(other.masks)
        assert np.array_equal(one.predictions, other.predictions)


@pytest.mark.usefixtures("inline")
def test_trained_trials_start_from_it(task, model, store):
    options = ("--trials", "1", "--space", task.parent / "quick.toml", "--method", "first-order")
    done = search(task, model, store, *options)
    assert done.returncode == 0, done.stderr
    assert "it is the dense network of the study as it came" in done.stderr
    assert "training the dense network" not in done.stderr
    front = json.loads(done.stdout)
    assert (front["epochs"], front["dense_is_own"]) == (2.0, True)
    # a study goes on as it began, whatever is asked for
    changed = search(task, model, store, *options, "--start", "pretrained")
    assert changed.returncode == 2
    assert "own" in changed.stderr


def test_own_is_the_default_of_a_head_that_fits_and_of_no_study_that_began_otherwise(model):
    def starts(order, begun=None, **options):
        source = ModelSource(
            "mine", "0", {}, {}, {}, head=HeadMatch(order, "" if order else "its head is another")
        )
        return starts_from_own(Search(model="mine", method="chance", **options), source, begun=begun)

    assert starts((1, 0))
    assert not starts(None)
    assert not starts((0, 1), start="pretrained")
    assert not starts((0, 1), start="dense")
    assert not starts((0, 1), begun=replace(spec(), own=False))
    assert starts((0, 1), begun=replace(spec(), own=True))
    for options in ({"start": "own"}, {"no_training": True}):
        with pytest.raises(BadInput, match="its head is another"):
            starts(None, **options)


@pytest.mark.usefixtures("inline")
@pytest.mark.parametrize("option", ["--no-training", "--start=own"])
def test_names_that_do_not_match_are_refused_with_both_lists(task, model, tmp_path, option):
    rename_outputs(model, ["good", "bad"])
    done = search(task, model, tmp_path / "store", option, "--method", "first-order")
    assert done.returncode == 2
    assert "its head knows the classes good, bad, the task has 0, 1" in done.stderr
    assert "id2label" in done.stderr
    assert not (tmp_path / "store" / "studies").exists()


@pytest.mark.usefixtures("inline")
def test_a_network_that_predicts_nothing_is_refused(task, model, tmp_path):
    rename_outputs(
        model, ["LABEL_0", "LABEL_1"], order=[1, 0]
    )  # by their numbers they are the classes 0 and 1
    done = search(task, model, tmp_path / "store", *UNTRAINED)
    assert done.returncode == 2
    assert "that of the best constant 0.5000" in done.stderr
    assert not (tmp_path / "store" / "studies").exists()


def test_outputs_without_names_may_be_in_another_order(model):
    rename_outputs(model, ["LABEL_0", "LABEL_1"])
    source = resolve_model(str(model), head=Head(("bad", "good")), train_texts=[])
    assert source.head.order == (0, 1)
    check_learned(0.6, 0.5, source, metric_name="accuracy")
    with pytest.raises(BadInput, match=r"is 0\.4000, .*LABEL_0 …\): are they in the task's order\?"):
        check_learned(0.4, 0.5, source, metric_name="accuracy")


@pytest.mark.usefixtures("inline")
def test_a_model_without_a_head_is_refused_without_training(task, minilm, tmp_path):
    done = search(task, minilm, tmp_path / "store", *UNTRAINED)
    assert done.returncode == 2
    assert "it has no classification head" in done.stderr
    assert "leave --no-training out" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "snip"}, "snip learns while a network is trained"),
        ({"method": "first-order", "start": "dense"}, "--start is 'dense'"),
        ({"method": "first-order", "distill": "kd"}, "--distill is 'kd'"),
    ],
)
def test_what_needs_training_is_refused(options, message):
    with pytest.raises(BadInput, match=message):
        check(Search(model="mine", no_training=True, **options))


def test_defaults_follow_from_no_training():
    assert (Search().method, Search().trials) == ("snip", 5)
    assert (Search(no_training=True).method, Search(no_training=True).trials) == ("obs", 1)
    assert Search(no_training=True, trials=4).trials == 4


@pytest.mark.usefixtures("inline")
def test_rows_without_labels_are_measured_by_agreement(task, model, store, tmp_path):
    """On the toy's rows the network is right, so agreement is what accuracy was: here it is made wrong on purpose."""
    blank = tmp_path / "blank"
    blank.mkdir()
    for name in ("train", "test"):
        lines = (task.parent / f"{name}.tsv").read_text().splitlines()
        (blank / f"{name}.tsv").write_text("\n".join(line.split("\t")[0] for line in lines) + "\n")
    (blank / "task.toml").write_text(
        'name = "blank"\ntext = ["sentence"]\nmax_length = 16\n[files]\ntrain = "train.tsv"\ntest = "test.tsv"\n'
    )
    refused = search(blank / "task.toml", model, store, "--method", "first-order")
    assert refused.returncode == 2
    assert "The rows of blank have no labels to train on. Give --no-training" in refused.stderr

    rename_outputs(model, ["right", "wrong"])
    done = search(blank / "task.toml", model, store, *UNTRAINED, "--space", task.parent / "quick.toml")
    assert done.returncode == 0, done.stderr
    front = json.loads(done.stdout)
    assert (front["metric_name"], front["dense_metric"]) == ("agreement", 1.0)
    assert "The rows have no labels: the metric is agreement" in done.stderr
    study = Store(store).study(front["study"])
    record, (_, answers) = study.read_record(0), study.read_validation()
    assert np.array_equal(record.points[0].predictions, answers)
    for point in record.points:
        assert point.measurement.metric == np.mean(point.predictions == answers)

    confirmed = prunefront_here("confirm", front["study"], "--store", store, "--json")
    assert confirmed.returncode == 0, confirmed.stderr
    assert json.loads(confirmed.stdout)["test_rows"] == 60
    exported = prunefront_here("export", front["study"], "--store", store, "--to", tmp_path / "out")
    assert exported.returncode == 0, exported.stderr
    card = (tmp_path / "out" / "README.md").read_text()
    assert "agreement (test, 60 rows)" in card
    assert json.loads((tmp_path / "out" / "config.json").read_text())["id2label"] == {
        "0": "right",
        "1": "wrong",
    }
