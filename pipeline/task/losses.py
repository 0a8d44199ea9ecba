"""What is learned from other networks beside labels: contrasts of representations.

Shapes: B rows of a batch, d features, M rows that a batch is compared with.
"""

from __future__ import annotations

from torch import Tensor


def contrasts(features: Tensor, keys: Tensor, positives: Tensor, *, temperature: float) -> Tensor:
    """Return means over rows of -1/|P| Σ_{p in P} log(exp(f·k_p / τ) / Σ_m exp(f·k_m / τ)), one per kind of positive.

    With the same row as the only positive it is InfoNCE, with rows of the same class the supervised contrast
    (Khosla et al. 2020, arXiv 2004.11362, eq. 2); both in Xu et al. 2021 (arXiv 2112.07198).

    Args:
        features: [B, d], each row of length 1.
        keys: [M, d], each row of length 1.
        positives: [K, B, M], which keys are positives of which row, by kind; of each row and kind at least one.
        temperature: τ.

    Returns:
        [K]
    """
    shares = (features @ keys.T / temperature).log_softmax(dim=-1)
    of_row = (shares * positives).sum(dim=-1) / positives.sum(dim=-1)
    return -of_row.mean(dim=-1)
