"""Which labels are one class."""

from __future__ import annotations

import re
from decimal import Context

INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
LONGEST_NUMBER = 300  # characters; Python refuses to read integers of some thousands
EXACT = Context(prec=2 * LONGEST_NUMBER, traps=[])
BOOLEANS = {"false": "0", "true": "1"}


def class_key(label: str) -> str:
    """Return what labels of one class have in common: no white space around them, one spelling of a number.

    >>> class_key(" pos"), class_key("1.0"), class_key("True"), class_key("01")
    ('pos', '1', '1', '1')
    """
    text = label.strip()
    text = BOOLEANS.get(text.lower(), text)
    if len(text) > LONGEST_NUMBER or not NUMBER.fullmatch(text):
        return text
    number = EXACT.create_decimal(text)
    if not number:
        return "0"
    if not number.is_finite() or abs(number.adjusted()) > LONGEST_NUMBER:
        return text
    return format(EXACT.normalize(number), "f")
