"""Kinds of tasks with their tiny data."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipeline.task.batches import Split
from pipeline.task.kinds import Classification, Regression

CLASSES = Classification("accuracy", ("0", "1", "2"))  # of the tiny networks' three outputs
VALUES = Regression("pearson_spearman")


def labelled(labels: np.ndarray) -> Split:
    """Rows of one token with these labels."""
    columns = {"id": [str(row) for row in range(len(labels))], "input_ids": [[1]] * len(labels)}
    return Split(pa.table({**columns, "label": labels}), pad_token_id=0)
