"""Names of plain types, and the one error that is a person's."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]
BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]

ParamValue = bool | int | float | str
Params = dict[str, ParamValue]

Kind = Literal["recovered", "curve"]
State = Literal["complete", "stopped", "failed"]


class BadInput(ValueError):  # noqa: N818 (a person's mistake, not the program's error)
    """What a person gave cannot be used. The message says the law, the facts, the way out."""
