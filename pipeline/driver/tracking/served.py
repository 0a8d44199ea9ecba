"""The code of a logged model: MLflow copies this file beside the checkpoint and runs it when the model is loaded.

It needs torch, transformers and pandas, and nothing of ours. A row is a text, or a pair of texts in two columns.
"""

from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc.model import PythonModel

BATCH = 32  # rows at once


class Classifier(PythonModel):
    """Rows of text -> a row for each: `label` and `score` (its probability), or `value` of a regression."""

    def load_context(self, context: Any) -> None:
        """Load the checkpoint that was logged; the trusted code is the one logged with it."""
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        folder = context.artifacts["checkpoint"]
        self.tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
        self.model = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True)
        self.model.eval()
        self.max_length = int(context.model_config["max_length"])

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """Predict every row, in order."""
        import torch

        del context, params
        found = []
        columns = [model_input[name].tolist() for name in model_input.columns]
        for start in range(0, len(model_input), BATCH):
            texts = [column[start : start + BATCH] for column in columns]
            inputs = self.tokenizer(
                *texts,
                padding=True,
                truncation=True,
                max_length=self.max_length,
                return_tensors="pt",
            )
            with torch.inference_mode():
                found.append(self.model(**inputs).logits)
        logits = torch.cat(found) if found else torch.empty(0, self.model.config.num_labels)
        if self.model.config.problem_type == "regression":
            return pd.DataFrame({"value": logits.squeeze(-1).tolist()})
        scores, classes = logits.softmax(dim=-1).max(dim=-1)
        names = {int(number): name for number, name in self.model.config.id2label.items()}
        return pd.DataFrame(
            {"label": [names[number] for number in classes.tolist()], "score": scores.tolist()}
        )


mlflow.models.set_model(Classifier())
