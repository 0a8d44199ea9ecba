"""Studies of single weights beside those that cut: what is asked, shown and refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.cli.app import run
from pipeline.driver.search.check import check
from pipeline.driver.search.request import Search
from pipeline.fronts.report import report
from pipeline.methods.registry import METHODS, ranks_weights
from pipeline.study.records import BadInput
from pipeline.study.space import load_space
from pipeline.study.store import Store
from tests.kit.compare import write_study
from tests.kit.synthetic import point, record, spec


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """`cut`, of compression, and `zeroed`, of sparsity, of one task."""
    root = tmp_path / "runs"
    write_study(root, "cut", [(0.85, 0.25), (0.7, 0.6)])
    files = Store(root)
    files.write_spec(replace(spec("zeroed", method="magnitude"), objective="sparsity"))
    points = []
    for metric, sparsity in ((0.89, 0.5), (0.8, 0.9)):
        plain = point(metric, 0.0)
        measured = replace(
            plain.measurement, sparsity=sparsity, nonzero_parameters=round(2000 - 1000 * sparsity)
        )
        points.append(replace(plain, measurement=measured))
    params = load_space("magnitude", file=None, pretrained=True).defaults() | {"target": 0.9}
    files.study("zeroed").write_record(replace(record(0, *points), params=params))
    files.study("zeroed").gather()
    return root


def test_a_sparse_front_is_called_so_and_has_no_compression(store: Path, capsys) -> None:
    assert run(["show", "zeroed", "--store", str(store), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["objective"] == "sparsity"
    assert [(p["compression"], p["sparsity"], p["gain"]) for p in found["points"]] == [
        (0, 0.5, 0.5),
        (0, 0.9, 0.9),
    ]
    assert found["points"][0]["params"]["target"] == 0.5
    assert run(["show", "zeroed", "--store", str(store)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "against sparsity" in shown
    assert "no network is smaller or faster" in shown
    assert "Same for all rows: scope matrix." in shown
    assert run(["best", "zeroed", "--min-sparsity", "0.8", "--store", str(store)]) == 0
    assert "--sparsity 0.9000" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["compare", "cut", "zeroed"], "is no smaller and no faster"),
        (["best", "zeroed", "--min-compression", "0.5"], "zeros in place of weights"),
        (["best", "cut", "--min-sparsity", "0.5"], "is a study that cuts"),
        (["search", "--method", "magnitude", "--objective", "compression"], "differ in sparsity alone"),
        (["search", "--method", "snip", "--objective", "sparsity"], "have no zeros"),
    ],
)
def test_the_two_kinds_are_not_mixed(store: Path, arguments: list[str], says: str, capsys) -> None:
    assert run([*arguments, "--store", str(store)]) == 2
    assert says in " ".join(capsys.readouterr().err.split())


def test_the_best_of_a_task_is_of_one_kind(store: Path, capsys) -> None:
    for options, study in (([], "cut"), (["--min-sparsity", "0.1"], "zeroed")):
        assert run(["best", "--task", "toy", *options, "--store", str(store), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["study"] == study


def test_a_page_has_a_panel_for_each_kind(store: Path, tmp_path: Path) -> None:
    written = report(store, ["cut", "zeroed"], html=tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert 'id="front"' in page
    assert 'id="front-sparsity"' in page
    assert "does not compare" in " ".join(written.remarks)


@pytest.mark.parametrize("method", [name for name in METHODS if ranks_weights(name)])
def test_gradual_methods_go_in_one_round(tmp_path: Path, method: str) -> None:
    space = tmp_path / "space.toml"
    space.write_text("[rounds]\nlow = 1\nhigh = 3\ndefault = 1\n")
    wanted = Search(method=method, space=space, store=tmp_path / "store")
    if method in ("deepcuts", "chance-weights"):
        assert check(wanted).space.may_have("rounds", 3)
    else:
        with pytest.raises(BadInput, match="in one round"):
            check(wanted)


def test_single_weights_have_no_uniform_allocation(tmp_path: Path, capsys) -> None:
    (tmp_path / "space.toml").write_text('[allocation]\nvalue = "uniform"\n')
    asked = ["search", "--method", "magnitude", "--space", str(tmp_path / "space.toml")]
    assert run([*asked, "--store", str(tmp_path / "store")]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "allocation = 'uniform' cuts layers and widths, and magnitude" in said
    assert not (tmp_path / "store").exists()
