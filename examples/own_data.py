"""Search on a CSV file of your own: python examples/own_data.py reviews.csv TEXT_COLUMN LABEL_COLUMN [TRIALS]

A fifth of the rows is put aside as test rows. The task file that is written can be given to `prunefront search`.
"""

import csv
import random
import sys
from pathlib import Path

from prunefront import pick, search


def write_task(rows_file: Path, text: str, label: str) -> Path:
    """Split the rows into train.csv and test.csv in a new folder, and return the task file there."""
    folder = rows_file.with_suffix("")
    folder.mkdir()
    with rows_file.open(newline="") as file:
        rows = list(csv.DictReader(file))
    random.Random(0).shuffle(rows)
    for name, part in (("test", rows[: len(rows) // 5]), ("train", rows[len(rows) // 5 :])):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(part[0]))
            writer.writeheader()
            writer.writerows(part)
    task = folder / "task.toml"
    task.write_text(
        f'name = "{rows_file.stem}"\nmetric = "accuracy"\ntext = ["{text}"]\nlabel = "{label}"\nmax_length = 64\n'
        '[files]\ntrain = "train.csv"\ntest = "test.csv"\n'
    )
    return task


if __name__ == "__main__":
    file, text, label, *trials = sys.argv[1:]
    front = search(task=str(write_task(Path(file), text, label)), trials=int(*trials or [5]))
    print(pick(front, max_drop=0.02))
