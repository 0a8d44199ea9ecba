"""In which multiples a GPU's layers keep their neurons."""

import pytest

from pipeline.trial.curve.allocation import neurons_together


@pytest.mark.parametrize(
    ("neurons", "together"),
    [(3_072, 64), (4_096, 64), (1_601, 64), (1_600, 8), (1_536, 8), (64, 8)],  # 32 of 1,600 are 2 %
)
def test_tiles_where_rounding_up_to_them_keeps_less_than_two_percent(neurons: int, together: int) -> None:
    assert neurons_together(neurons) == together
