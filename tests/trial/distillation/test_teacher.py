"""What a network says of rows: in batches the same as row by row; written, read back, or refused."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.study.records import BadInput
from pipeline.task.batches import encoder_inputs
from pipeline.trial.distillation import Teacher, compute_outputs, read_teacher, write_teacher
from tests.kit.kinds import CLASSES


@pytest.mark.parametrize("training", [True, False])
def test_cached_is_live(architecture, make_model, make_split, training: bool):
    model, _ = make_model(architecture)
    split = make_split(architecture, rows=40)  # more than a batch
    model.train(training)
    hooks = len(model.base_model._forward_hooks)
    found = compute_outputs(model, split, CLASSES, precision="fp32")
    assert model.training is training
    assert len(model.base_model._forward_hooks) == hooks
    assert (found.logits.dtype, found.features.dtype) == (np.float32, np.float16)
    model.eval()
    for row in range(len(split)):
        inputs = encoder_inputs(split.collate(np.array([row])))
        with torch.no_grad():
            logits = model(**inputs).logits[0]
            first = model.base_model(**inputs).last_hidden_state[0, 0]
        np.testing.assert_allclose(found.logits[row], logits, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.features[row], first / first.norm(), atol=1e-3)


def teacher(rows: int = 5) -> Teacher:
    generator = np.random.default_rng(0)
    return Teacher(
        generator.normal(size=(rows, 3)).astype(np.float32),
        pretrained=generator.normal(size=(rows, 4)).astype(np.float16),
    )


def test_what_was_written_is_read(tmp_path: Path):
    write_teacher(tmp_path / "teacher.safetensors", teacher())
    read = read_teacher(tmp_path / "teacher.safetensors", rows=5)
    assert np.array_equal(read.logits, teacher().logits)
    assert np.array_equal(read.pretrained, teacher().pretrained)
    assert read.finetuned is None
    assert [path.name for path in tmp_path.iterdir()] == ["teacher.safetensors"]


def test_what_cannot_be_read_is_refused(tmp_path: Path):
    path = tmp_path / "teacher.safetensors"
    with pytest.raises(BadInput, match="is gone"):
        read_teacher(path, rows=5)
    write_teacher(path, teacher())
    with pytest.raises(BadInput, match="other rows than the 6"):
        read_teacher(path, rows=6)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(BadInput, match="cannot be read"):
        read_teacher(path, rows=5)
