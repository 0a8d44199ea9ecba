"""Which settings tables show: what the methods' own files say."""

from __future__ import annotations

from types import SimpleNamespace

from pipeline.fronts.setting_columns import columns_of, columns_of_any, setting_columns, shared_settings


def front_of(method: str, *params: dict[str, object]) -> SimpleNamespace:
    points = [SimpleNamespace(params=each) for each in params]
    return SimpleNamespace(spec=SimpleNamespace(method=method), points=points)


def test_the_main_setting_comes_first_then_where_it_cuts() -> None:
    assert [column.name for column in columns_of("snip")] == ["penalty", "threshold", "target", "bound"]
    assert [column.name for column in columns_of("dsp")] == ["threshold", "target"]
    assert [column.name for column in columns_of("of a package that is not here")] == ["threshold", "target"]


def test_a_key_in_force_is_the_one_that_ends_in_the_first_ones_value() -> None:
    bound = columns_of("snip")[-1]
    params = {"spectral_bound": "relative", "bound_relative": 0.7, "bound_absolute": 4.0}
    assert bound.key_in_force(params) == "bound_relative"
    assert bound.values(params) == ["relative", 0.7]
    assert bound.values(params | {"spectral_bound": "off"}) == ["off"]
    assert bound.values({}) == []


def test_a_front_shows_what_is_named_and_what_differs() -> None:
    params = {
        "penalty_strength": 1.0,
        "threshold": 0.2,
        "spectral_bound": "off",
        "level": "head",
        "norm": "rms",
    }
    found = front_of("snip", params, params | {"level": "block"})
    assert setting_columns(found) == {
        "penalty_strength": "penalty",
        "threshold": "threshold",
        "spectral_bound": "bound",
        "level": "level",
    }
    assert shared_settings(found) == {}
    alike = front_of("snip", params, params)
    assert "level" not in setting_columns(alike)
    assert shared_settings(alike) == {"level": "head"}


def test_a_table_of_several_methods_has_the_columns_of_all() -> None:
    names = [column.name for column in columns_of_any("chance")]
    assert names == ["penalty", "threshold", "target", "bound"]
