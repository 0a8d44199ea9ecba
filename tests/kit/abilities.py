"""What docs/guide/architectures.md says of each row that takes long to try: `-m long` tries it."""

from __future__ import annotations

# Exported folders that transformers 4.57 does not load: it has no such class, or one of another structure.
NOT_IN_4 = frozenset({"dinov3_vit", "eurobert", "gte", "jina_embeddings_v3", "nomic_bert", "vit"})
# model.onnx is not written, or computes another thing.
NO_ONNX: frozenset[str] = frozenset()
