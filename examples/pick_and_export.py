"""Export the smallest good network of a study: python examples/pick_and_export.py STUDY FOLDER [MAX_DROP]

MAX_DROP is how far its metric may be below the dense network's, 0.02 by default.
"""

import sys
from pathlib import Path

import torch

from prunefront import export, load, load_front, load_tokenizer, pick


def main(study: str, folder: Path, max_drop: float = 0.02) -> None:
    """Pick, export, load the folder, and classify one sentence."""
    point = pick(load_front(study), max_drop=max_drop)
    print(f"{point.compression:.1%} of the encoder removed, {point.metric:.3f} on validation rows")
    export(study, to=folder, max_drop=max_drop)

    model, tokenizer = load(folder), load_tokenizer(folder)
    rows = tokenizer(["Fit the model to the training data."], return_tensors="pt")
    with torch.no_grad():
        label = model.config.id2label[int(model(**rows).logits.argmax())]
    print(
        f"{sum(p.numel() for p in model.parameters()):,} parameters; the sentence is classified as {label!r}"
    )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *map(float, sys.argv[3:]))
