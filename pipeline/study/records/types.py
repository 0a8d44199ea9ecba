"""Type aliases, and the error for bad input."""

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


class BadInput(ValueError):  # noqa: N818 (the user's mistake, not an error of the program)
    """The user's input cannot be used. The message has the rule, the facts, the way out."""


class NetworkLost(RuntimeError):  # noqa: N818 (a fact about a network, not a fault of the program)
    """A network's weights are gone, and training it again has failed."""
