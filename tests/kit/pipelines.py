"""Exported folders of each kind, run as their users do: by the library's pipeline, or its class where that is gone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch


def piped(task: str, *given: Any, **options: Any) -> Callable[[Path], str]:
    """Return what loads a folder by the library's pipeline of a task, and gives its first answer."""

    def use(folder: Path) -> str:
        import transformers

        pipe: Any = transformers.pipeline(task, model=str(folder), trust_remote_code=True, device="cpu")
        return f"transformers.pipeline({task!r}): {str(pipe(*given, **options))[:160]}"

    return use


def spans(folder: Path) -> str:
    """Return an answer by the library's class: transformers 5 has no pipeline of question answering."""
    import transformers

    tokenizer: Any = transformers.AutoTokenizer
    words = tokenizer.from_pretrained(folder, trust_remote_code=True)
    auto: Any = transformers.AutoModelForQuestionAnswering
    network = auto.from_pretrained(folder, trust_remote_code=True).eval()
    batch = words("Who sat on the mat?", "A grey cat sat on the mat all day.", return_tensors="pt")
    with torch.inference_mode():
        found = network(**batch)
    start = int(found.start_logits.argmax())
    end = max(start, int(found.end_logits.argmax()))
    return f"AutoModelForQuestionAnswering: {words.decode(batch['input_ids'][0][start : end + 1])[:80]!r}"


def digit(folder: Path) -> str:
    """Return what the library's pipeline says of scikit-learn's first digit, a 0."""
    from PIL import Image
    from sklearn.datasets import load_digits

    pixels = np.rint(load_digits().images[0] * (255 / 16)).astype(np.uint8)
    return piped("image-classification", Image.fromarray(pixels).convert("RGB"))(folder)


USES: dict[str, Callable[[Path], str]] = {
    "text-classification": piped(
        "text-classification", ["Where is the cat?", "I love this so much!"], top_k=2
    ),
    "token-classification": piped(
        "token-classification", "Marie Curie lived in Paris", aggregation_strategy="simple"
    ),
    "question-answering": spans,
    "feature-extraction": piped("feature-extraction", "a cat"),
    "image-classification": digit,
    "text-generation": piped("text-generation", "Return the number of", max_new_tokens=12, do_sample=False),
}
