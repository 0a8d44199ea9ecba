"""How a search orders units: by time where time is the objective, unless its space says otherwise."""

from pathlib import Path

import pytest

from pipeline.driver.search.check import check, kept_space
from pipeline.driver.search.request import Search
from pipeline.study.records import BadInput


def space_file(folder: Path, text: str) -> Path:
    path = folder / "space.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("objective", "text", "found"),
    [
        (None, "", ("units",)),
        ("macs", "", ("units",)),
        ("latency", "", ("latency",)),
        ("latency", '[allocation]\nvalue = "units"\n', ("units",)),
        (
            "latency",
            '[allocation]\nchoices = ["units", "latency"]\ndefault = "latency"\n',
            ("units", "latency"),
        ),
        ("latency", '[allocation]\nvalue = "uniform"\n', ("uniform",)),
    ],
)
def test_units_go_by_time_where_time_is_the_objective(
    tmp_path: Path, objective: str | None, text: str, found: tuple[str, ...]
) -> None:
    checked = check(Search(objective=objective, space=space_file(tmp_path, text)))
    assert checked.space.keys["allocation"].values == found
    assert ("allocation" in checked.given) == bool(text)


def test_a_study_that_began_before_keeps_its_order() -> None:
    checked = check(Search(objective="latency"))
    before = check(Search(objective="macs")).space
    assert kept_space(checked, before.toml).keys["allocation"].values == ("units",)


@pytest.mark.parametrize(
    ("request_", "text", "message"),
    [
        (Search(), '[allocation]\nvalue = "latency"\n', "The objective is compression"),
        (Search(method="magnitude"), '[allocation]\nvalue = "uniform"\n', "sets single weights to zero"),
        (
            Search(method="obs"),
            '[allocation]\nvalue = "uniform"\n[rescore]\nvalue = 2\n',
            "orders groups of them once",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(
    tmp_path: Path, request_: Search, text: str, message: str
) -> None:
    from dataclasses import replace

    with pytest.raises(BadInput, match=message):
        check(replace(request_, space=space_file(tmp_path, text)))
