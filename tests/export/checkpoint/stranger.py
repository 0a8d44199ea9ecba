"""Run by a Python that has torch and one transformers: loads exported folders, says what they compute as JSON."""

import json
import sys
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file


def outcome(folder: Path) -> dict:
    inputs = load_file(folder.with_suffix(".inputs"))
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True)
    base = transformers.AutoModel.from_pretrained(folder, trust_remote_code=True)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    with torch.no_grad():
        logits = model(**inputs).logits
        hidden = base(**inputs).last_hidden_state
        expected = model.base_model(**inputs).last_hidden_state
    shown = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, trust_remote_code=True, attn_implementation="eager"
    )
    with torch.no_grad():
        eager = shown(**inputs, output_attentions=True)
    again = folder.with_suffix(".again")
    model.save_pretrained(again)  # the library's own way of saving takes our file along
    twin = transformers.AutoModelForSequenceClassification.from_pretrained(again, trust_remote_code=True)
    with torch.no_grad():
        saved = twin(**inputs).logits
    return {
        "logits": logits.tolist(),
        "class": type(model).__name__,
        "training": model.training,
        "attention": model.config._attn_implementation,
        "base_difference": (hidden - expected).abs().max().item(),
        "eager_difference": (eager.logits - logits).abs().max().item(),
        "heads": [weights.shape[1] for weights in eager.attentions if weights is not None],
        "saved_again": torch.equal(saved, logits),
        "tokens": tokenizer("the bright river of people", "and a tired story")["input_ids"],
        "labels": model.config.id2label["1"] if "1" in model.config.id2label else model.config.id2label[1],
    }


def logits(folder: Path) -> list | str:
    """What a network computes, of texts or of images; the library's first words where it does not load the folder."""
    inputs = load_file(folder.with_suffix(".inputs"))
    of = "ImageClassification" if "pixel_values" in inputs else "SequenceClassification"
    try:
        model = getattr(transformers, f"AutoModelFor{of}").from_pretrained(folder, trust_remote_code=True)
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:300]
    with torch.no_grad():
        return model(**inputs).logits.tolist()


def stock(folder: Path) -> str:
    """What a person sees who does not trust remote code."""
    try:
        transformers.AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=False)
    except (ValueError, OSError) as error:
        return str(error)
    return "loaded"


if __name__ == "__main__":
    transformers.utils.logging.set_verbosity_error()
    torch.set_num_threads(1)
    if sys.argv[1] == "--logits":
        print(json.dumps({Path(name).name: logits(Path(name)) for name in sys.argv[2:]}))
        sys.exit()
    folders = [Path(name) for name in sys.argv[1:]]
    print(
        json.dumps(
            {
                "transformers": transformers.__version__,
                "there": sorted({found.metadata["Name"].lower() for found in distributions()}),
                "pipeline": find_spec("pipeline") is not None,
                "untrusted": stock(folders[0]),
                "outcomes": {folder.name: outcome(folder) for folder in folders},
            }
        )
    )
