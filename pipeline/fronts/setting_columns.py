"""The columns of tables that hold settings: a method's own file says which (`show`, pipeline/study/space/space.py)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from pipeline.fronts.front import Front
from pipeline.study.records import Params, ParamValue
from pipeline.study.space import ALLOCATION_KEYS, packaged_methods, shown_keys


@dataclass(frozen=True)
class SettingColumn:
    """A setting that tables of results always show.

    Further keys of the same name hold a number for one value of `key`, the one that they end in: `bound_relative` is
    in force where `spectral_bound` is "relative".
    """

    name: str
    key: str
    further: tuple[str, ...] = ()

    def key_in_force(self, params: Params) -> str | None:
        """Return the further key that holds for these parameters; None if none does."""
        ending = f"_{params.get(self.key)}"
        return next((key for key in self.further if key.endswith(ending) and key in params), None)

    def values(self, params: Params) -> list[ParamValue]:
        """Return what the column shows: the key's value, and that of the further key in force."""
        keys = (self.key, self.key_in_force(params))
        return [params[key] for key in keys if key is not None and key in params]


def columns_of(method: str) -> tuple[SettingColumn, ...]:
    """Return the settings of a method that tables always show: its main one, where networks are cut, the others."""
    named = _named(method)
    return (*named[:1], *_ALLOCATION, *named[1:])


def columns_of_any(method: str) -> tuple[SettingColumn, ...]:
    """Return the columns of a table of several methods: those of all packaged methods, and this one's own."""
    main: dict[str, SettingColumn] = {}
    others: dict[str, SettingColumn] = {}
    for name in dict.fromkeys((*packaged_methods(), method)):
        columns = _named(name)
        main |= {column.name: column for column in columns[:1]}
        others |= {column.name: column for column in columns[1:]}
    return (*main.values(), *_ALLOCATION, *(others[name] for name in others if name not in main))


_ALLOCATION = tuple(SettingColumn(key, key) for key in ALLOCATION_KEYS)


@cache  # a figure needs it for each of its dots
def _named(method: str) -> tuple[SettingColumn, ...]:
    """Return the columns that a method's file names, in its order."""
    keys: dict[str, list[str]] = {}
    for key, name in shown_keys(method).items():
        if isinstance(name, str):
            keys.setdefault(name, []).append(key)
    return tuple(SettingColumn(name, first, tuple(further)) for name, (first, *further) in keys.items())


def setting_columns(found: Front) -> dict[str, str]:
    """Return the settings that a front's table shows, in order: each key with the name of its column."""
    columns = {
        column.key: column.name
        for column in columns_of(found.spec.method)
        if any(column.key in point.params for point in found.points)
    }
    return columns | {key: key for key in _where_different(found) if len(_values(found, key)) > 1}


def shared_settings(found: Front) -> Params:
    """Return the settings that all networks of a front share, of those that are shown where networks differ."""
    return {key: values[0] for key in _where_different(found) if len(values := _values(found, key)) == 1}


def _where_different(found: Front) -> list[str]:
    return [key for key, show in shown_keys(found.spec.method).items() if show is True]


def _values(found: Front, key: str) -> list[ParamValue]:
    return list(dict.fromkeys(point.params[key] for point in found.points if key in point.params))
