"""The Cholesky factor of a matrix that is positive definite but for rounding."""

from __future__ import annotations

import torch
from torch import Tensor

LEAST, MOST = 1e-3, 1e3  # of the mean diagonal, added where rounding is larger than the matrix's own ridge


def factor(matrix: Tensor) -> Tensor:
    """Return the lower Cholesky factor [n, n] of a symmetric matrix.

    Inputs that are nearly the same in every row, as in a network that has collapsed, leave one eigenvalue of n times
    the mean diagonal: fp32 rounds it by more than a ridge is. Then as much is added to the diagonal as makes it
    definite.

    Raises:
        torch.linalg.LinAlgError: nothing does; it has entries that are no numbers.
    """
    found: Tensor
    found, failed = torch.linalg.cholesky_ex(matrix)
    share = LEAST
    while bool(failed) and share <= MOST:
        more = matrix.clone()
        more.diagonal().add_(share * matrix.diagonal().mean())
        found, failed = torch.linalg.cholesky_ex(more)
        share *= 10
    if bool(failed):
        found = torch.linalg.cholesky(matrix)  # raises
    return found
