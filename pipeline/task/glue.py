"""The nine tasks of GLUE (Wang et al., arXiv 1804.07461) as they lie on the Hugging Face hub.

The hub's own test labels are hidden: what is `test` here is the official validation split, for MNLI the
matched one, with the mismatched one beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

REPOSITORY = "nyu-mll/glue"
LABEL = "label"
ROW_NUMBER = "idx"
MAX_LENGTH = 128  # tokens; the length of the published GLUE baselines of BERT (arXiv 1810.04805)


@dataclass(frozen=True)
class GlueTask:
    """The text columns and the metric of one task, and its test parts: (name, split on the hub)."""

    text: tuple[str, ...]
    metric: str = "accuracy"
    test: tuple[tuple[str, str], ...] = (("test", "validation"),)


GLUE: dict[str, GlueTask] = {
    "cola": GlueTask(("sentence",), "matthews"),
    "sst2": GlueTask(("sentence",)),
    "mrpc": GlueTask(("sentence1", "sentence2"), "accuracy_f1"),
    "qqp": GlueTask(("question1", "question2"), "accuracy_f1"),
    "stsb": GlueTask(("sentence1", "sentence2"), "pearson_spearman"),
    "mnli": GlueTask(
        ("premise", "hypothesis"),
        test=(("test", "validation_matched"), ("test_mismatched", "validation_mismatched")),
    ),
    "qnli": GlueTask(("question", "sentence")),
    "rte": GlueTask(("sentence1", "sentence2")),
    "wnli": GlueTask(("sentence1", "sentence2")),
}

# glue/NAME -> why nothing can be searched on it
UNUSABLE = {
    "glue/ax": "glue/ax is GLUE's diagnostic set for models of MNLI: it has no train rows, and its labels are not "
    "public. Use glue/mnli; predictions for ax are scored by GLUE's own server alone."
}
