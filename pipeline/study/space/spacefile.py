"""One table of a search space's TOML file <-> a Key. `pipeline.study.space.space` documents the format."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from math import isfinite
from typing import Any, Literal, cast

from pipeline.study.records import BadInput, ParamValue

SPREAD = 3  # trials after the defaults whose values a file can give

Type = Literal["bool", "int", "float", "str"]
TYPES: tuple[Type, ...] = (
    "bool",
    "int",
    "float",
    "str",
)  # a key's type is the first that fits all of its values
LARGEST = sys.float_info.max
NUMBERS: tuple[Type, ...] = ("int", "float")
WORDS = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a finite number",
    "str": "a text in quotes",
}

# The attribute that identifies a form -> (attributes that it requires, attributes that it allows).
FORMS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "value": ((), ("default", "known")),
    "choices": (("default",), ("when", "spread")),
    "low": (("high", "default"), ("log", "when", "spread")),
}
ATTRIBUTES = ("value", "choices", "low", "high", "log", "default", "when", "spread", "known")

When = tuple[tuple[str, tuple[ParamValue, ...]], ...]  # (earlier key, its values): all conditions must hold


@dataclass(frozen=True)
class Key:
    """One parameter: a range if it has bounds, one of `choices` if it has any, else fixed at its default."""

    name: str
    type: Type
    default: ParamValue
    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[ParamValue, ...] = ()
    when: When = ()
    spread: tuple[ParamValue, ...] = ()
    known: tuple[ParamValue, ...] = field(
        default=(), compare=False
    )  # texts that a fixed key may be given by a user's file, beside its own

    @property
    def fixed(self) -> bool:
        """Whether the key is never drawn."""
        return self.low is None and not self.choices

    @property
    def values(self) -> tuple[ParamValue, ...]:
        """The values of a key without a range."""
        return self.choices or (self.default,)

    def admits(self, value: ParamValue) -> bool:
        """Return whether a trial may have this value, which is of the key's type."""
        if self.low is not None and self.high is not None:
            return self.low <= cast(float, value) <= self.high
        return value in (self.choices or (self.default,))

    @property
    def range_text(self) -> str:
        """The admitted values as text."""
        if self.low is not None:
            return f"{self.low} to {self.high}"
        return ", ".join(map(repr, self.choices or (self.default,)))

    def table(self) -> dict[str, Any]:
        """Return the key's table in a TOML file, every attribute written out."""
        if self.fixed:
            return {"value": self.default}
        table: dict[str, Any] = {"choices": [*self.choices], "default": self.default}
        if not self.choices:
            table = {"low": self.low, "high": self.high, "log": self.log, "default": self.default}
        if self.when:
            table["when"] = {name: [*values] if len(values) > 1 else values[0] for name, values in self.when}
        if self.spread:
            table["spread"] = [*self.spread]
        return table


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the nearest known name and all known names: the way out for an unknown name."""
    names = list(known)
    return f"Nearest: {get_close_matches(name, names, n=1, cutoff=0.0)[0]!r}; known: {', '.join(names)}."


@dataclass(frozen=True)
class Table:
    """A key's table in a file."""

    file: str
    key: str
    items: Mapping[str, Any]

    def refuse(self, rule: str, facts: str, way_out: str) -> BadInput:
        """Return the error with its message: the rule, the facts in this file, the way out."""
        return BadInput(f"{self.file}, [{self.key}]: {facts}. {rule}. {way_out}")


def parse_key(table: Table, name: str, *, known: Key | None, earlier: Mapping[str, Key]) -> Key:
    """Return a key from its table.

    `known` is the packaged key that this one replaces: it sets the type and, for texts, the possible values.
    Without it the type is that of bounds, choices or value. `earlier` are the keys that `when` may name.

    Raises:
        BadInput: an unknown attribute, wrong types, low > high, log with low <= 0, empty choices, a default
            that is missing or not admitted, a `when` or `spread` that is not valid.
    """
    form = _form(table)
    type_ = known.type if known else _own_type(table, form)
    low, high, log = _bounds(table, type_) if form == "low" else (None, None, False)
    key = Key(
        name=name,
        type=type_,
        default=_value(table, "value" if form == "value" else "default", type_),
        low=low,
        high=high,
        log=log,
        choices=_choices(table, type_) if form == "choices" else (),
        when=_when(table, earlier),
        spread=_values(table, "spread", type_) if "spread" in table.items else (),
        known=_values(table, "known", type_) if "known" in table.items else known.known if known else (),
    )
    _check_admitted(table, key)
    if known is not None and known.type == "str":
        texts = known.known or known.choices or (known.default,)
        for value in key.choices or (key.default,):
            if value not in texts:
                rule = "A text is one of those the program knows"
                raise table.refuse(rule, f"{value!r}", f"Known: {', '.join(map(repr, texts))}.")
    return key


def check_when(table: Table, key: Key, earlier: Mapping[str, Key]) -> None:
    """Refuse a condition that can never hold: a typing error would silently remove a key from the search.

    Raises:
        BadInput: an earlier key never has a value that `when` requires.
    """
    for name, values in key.when:
        for value in values:
            if not earlier[name].admits(value):
                facts = f"{name} is never {value!r}"
                raise table.refuse("A `when` can hold", facts, f"Possible: {earlier[name].range_text}.")


def _form(table: Table) -> str:
    """Return the form, `value`, `choices` or `low`, after checking its required and allowed attributes."""
    for name in table.items:
        if name not in ATTRIBUTES:
            raise table.refuse("A key has known attributes", f"{name!r} is none", nearest(name, ATTRIBUTES))
    forms = [form for form in FORMS if form in table.items]
    if len(forms) != 1:
        facts = f"it has {' and '.join(forms) or 'none of them'}"
        raise table.refuse("A key has a value, or choices, or low and high", facts, "Keep one of the three.")
    form = forms[0]
    must, may = FORMS[form]
    for name in must:
        if name not in table.items:
            raise table.refuse(f"A key with {form!r} needs {name!r}", f"{name!r} is missing", "Add it.")
    for name in table.items:
        if name not in (form, *must, *may):
            raise table.refuse(f"A key with {form!r} takes no {name!r}", f"it has {name!r}", "Leave it out.")
    return form


def _bounds(table: Table, type_: Type) -> tuple[float, float, bool]:
    """Return low, high (whole numbers for an int key) and log."""
    if type_ not in NUMBERS:
        raise table.refuse("Numbers have bounds", f"a value of this key is {WORDS[type_]}", "Give choices.")
    low, high = (cast(float, _value(table, name, type_)) for name in ("low", "high"))
    log = bool(_value(table, "log", "bool")) if "log" in table.items else False
    facts = f"low = {low}, high = {high}"
    if low > high:
        raise table.refuse("Bounds go up", facts, "Swap them.")
    if log and low <= 0:
        raise table.refuse("A logarithmic range is above 0", facts, "Raise low, or leave log out.")
    return low, high, log


def _choices(table: Table, type_: Type) -> tuple[ParamValue, ...]:
    values = _values(table, "choices", type_)
    if not values or len(set(values)) < len(values):
        raise table.refuse(
            "Choices are one value or more, all different", f"{list(values)}", "Change the list."
        )
    return values


def _when(table: Table, earlier: Mapping[str, Key]) -> When:
    """Return the conditions: each names an earlier key and values of its type."""
    given = table.items.get("when", {})
    if not isinstance(given, dict):
        raise table.refuse("A `when` is a table", f"when = {given!r}", 'Write when = { key = "value" }.')
    found: list[tuple[str, tuple[ParamValue, ...]]] = []
    for name, one_or_more in given.items():
        if name not in earlier:
            way_out = nearest(name, earlier) if earlier else "Leave `when` out."
            raise table.refuse("A `when` names a key that comes earlier", f"{name!r} does not", way_out)
        values = one_or_more if isinstance(one_or_more, list) else [one_or_more]
        if not values:
            raise table.refuse("A `when` holds for one value or more", f"{name} = []", "Name a value.")
        found.append((name, tuple(_typed(table, f"when {name}", v, earlier[name].type) for v in values)))
    return tuple(found)


def _check_admitted(table: Table, key: Key) -> None:
    """Check that default and spread are values that a trial may have."""
    if key.spread and len(key.spread) != SPREAD:
        facts = f"spread = {list(key.spread)}"
        raise table.refuse(f"A spread has {SPREAD} values, for trials 1 to {SPREAD}", facts, "Give as many.")
    default = _value(table, "default", key.type) if "default" in table.items else key.default
    for attribute, value in [("default", default), *(("spread", value) for value in key.spread)]:
        if not key.admits(value):
            rule = "Default and spread are among the values that a trial may have"
            raise table.refuse(
                rule, f"{attribute} {value!r} is not in {key.range_text}", "Change one of the two."
            )


def _own_type(table: Table, form: str) -> Type:
    """Return the type of a key that no earlier file defines: that of its value, choices or bounds."""
    given = [table.items["low"], table.items["high"]] if form == "low" else table.items[form]
    values = given if isinstance(given, list) else [given]
    for type_ in TYPES:
        if all(_is(value, type_) for value in values):
            return type_
    facts = f"{form} = {table.items[form]!r}"
    raise table.refuse(
        "Values are all finite numbers, or all texts, or all true or false", facts, "Correct it."
    )


def _value(table: Table, attribute: str, type_: Type) -> ParamValue:
    return _typed(table, attribute, table.items[attribute], type_)


def _values(table: Table, attribute: str, type_: Type) -> tuple[ParamValue, ...]:
    values = table.items[attribute]
    if not isinstance(values, list):
        raise table.refuse(f"{attribute!r} is a list", f"{attribute} = {values!r}", "Put it in brackets.")
    return tuple(_typed(table, attribute, value, type_) for value in values)


def _typed(table: Table, attribute: str, value: Any, type_: Type) -> ParamValue:
    """Return the value after checking its type; a whole number is also a float."""
    if not _is(value, type_):
        raise table.refuse(f"{attribute!r} is {WORDS[type_]} here", f"{attribute} = {value!r}", "Correct it.")
    return float(value) if type_ == "float" else cast(ParamValue, value)


def _is(value: object, type_: Type) -> bool:
    if isinstance(value, bool):
        return type_ == "bool"
    if isinstance(value, int):
        return type_ == "int" or (type_ == "float" and abs(value) <= LARGEST)
    if isinstance(value, float):
        return type_ == "float" and isfinite(value)
    return isinstance(value, str) and type_ == "str"
