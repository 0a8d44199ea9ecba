"""An exported network as an MLflow model: a pyfunc that loads where torch and transformers are."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from threading import Lock

CODE = Path(__file__).with_name("served.py")
REQUIREMENTS = ("torch", "transformers", "safetensors", "pandas")
_ONE_AT_A_TIME = Lock()  # what two threads replace, each would put back what the other has put there


@dataclass(frozen=True)
class ExportedModel:
    """An exported network, and its measurements: `values` by name."""

    trial: int
    name: str
    checkpoint: Path
    text: tuple[str, ...]  # the task's own names of its text columns
    max_length: int  # tokens of the longest row it was trained for
    classes: bool  # whether it predicts a class and its probability, or a value
    values: Mapping[str, float]


def write_model(folder: Path, model: ExportedModel, *, model_id: str, run_id: str) -> None:
    """Write a model in MLflow's format, into a folder that does not exist yet."""
    with warnings.catch_warnings():
        # MLflow warns about its own type hints when it is imported, and about a missing input example
        warnings.simplefilter("ignore")
        from mlflow.models import Model, ModelSignature
        from mlflow.pyfunc import save_model
        from mlflow.types import ColSpec, DataType, Schema

        answers = (
            {"label": DataType.string, "score": DataType.double}
            if model.classes
            else {"value": DataType.double}
        )
        with _requirements_unchecked():
            save_model(
                str(folder),
                python_model=str(CODE),
                artifacts={"checkpoint": str(model.checkpoint)},
                signature=ModelSignature(
                    inputs=Schema([ColSpec(DataType.string, name) for name in model.text]),
                    outputs=Schema([ColSpec(kind, name) for name, kind in answers.items()]),
                ),
                pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in REQUIREMENTS],
                model_config={"max_length": model.max_length},
                mlflow_model=Model(model_id=model_id, run_id=run_id),
            )


@contextmanager
def _requirements_unchecked() -> Iterator[None]:
    """Save without MLflow's look at whether the requirements are installed, for which it reads every package's files.

    They are the versions that are installed. No option of MLflow 3.17 turns that off:
    MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK is for a trial run of pip alone.
    """
    from mlflow.utils import environment

    name = "warn_dependency_requirement_mismatches"
    with _ONE_AT_A_TIME:
        before = getattr(environment, name, None)
        if before is None:  # another version of MLflow
            yield
            return
        setattr(environment, name, lambda _: None)
        try:
            yield
        finally:
            setattr(environment, name, before)
