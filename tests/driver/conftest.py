"""What several of the driver's tests need."""

from pathlib import Path

import pytest

from pipeline.driver.tracking import open_tracking


@pytest.fixture(scope="session")
def mlflow_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new MLflow database to copy: making one takes seconds."""
    root = tmp_path_factory.mktemp("mlflow")
    path = root / "mlflow.db"
    open_tracking(f"sqlite:///{path}", store_root=root)  # named here: the environment may name another
    return path
