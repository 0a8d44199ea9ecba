"""Word embeddings in training: only the rows of words that occur in the training data are trained.

AdamW changes a row that never has a gradient by weight decay alone, p <- p · Π_t (1 - η_t λ), so the rest of the table
needs no gradient, no moments and no step: on a small task that is half of a small network. A network of images has no
such table; that of a language model is often also that of the words it predicts, and then stays whole.
Shapes: V words, u of them occur ("seen"), d features.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast, final

import torch
from torch import Tensor, nn

from pipeline.task.batches import Split

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MOST_SEEN = 0.75  # share of words seen up to which the table is reduced


@final
class SeenWords(nn.Module):
    """Embeddings of the seen words only, in place of the whole table."""

    def __init__(self, words: nn.Embedding, seen: Tensor) -> None:
        """Take the rows of `words` that are trained.

        Args:
            words: the whole table.
            seen: [V], True for words that may occur; the padding token is among them.
        """
        super().__init__()
        with torch.no_grad():
            self.weight = nn.Parameter(words.weight[seen])  # [u, d]
            self.register_buffer("unseen", words.weight[~seen])  # [V - u, d], as they were at the start
        self.unseen: Tensor
        self.place: Tensor
        self.register_buffer("place", seen.cumsum(0) - 1, persistent=False)  # [V]
        padding = words.padding_idx
        self._padding = None if padding is None else int(self.place[padding])

    def forward(self, ids: Tensor) -> Tensor:
        """Return the embeddings [B, T, d] of word numbers [B, T]."""
        return nn.functional.embedding(self.place[ids], self.weight, self._padding)


class Vocabulary:
    """The words of a network in training; `decay` is the factor of weight decay on unseen ones so far."""

    def __init__(self, model: PreTrainedModel, train: Split) -> None:
        self._model = model
        self._whole = cast("nn.Embedding", model.get_input_embeddings())
        self._trained: SeenWords | None = None
        self._reducible = False
        if isinstance(self._whole, nn.Embedding) and not _is_tied(model, self._whole):
            seen = torch.from_numpy(train.words(self._whole.num_embeddings))
            self._seen = seen.to(self._whole.weight.device)
            # row numbers, by whether a word is seen: a mask's would be read on the host each time
            self._places = {each: torch.nonzero(self._seen == each).squeeze(1) for each in (True, False)}
            self._reducible = self._whole.weight.requires_grad and bool(seen.float().mean() <= MOST_SEEN)
        self.decay: float | Tensor = 1.0  # a tensor [] where its value is only on the device

    @contextmanager
    def reduced(self) -> Iterator[None]:
        """Give the network its seen words only, inside the context; after it all words, in their old places."""
        if not self._reducible:
            yield
            return
        self._trained = SeenWords(self._whole, self._seen)
        self._model.set_input_embeddings(self._trained)
        try:
            yield
        finally:
            self._fill(self._trained)
            self._model.set_input_embeddings(self._whole)
            self._trained = None

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Give the network all of its words, inside a `reduced` context, so that it can be evaluated."""
        if self._trained is None:
            yield
            return
        self._fill(self._trained)
        self._model.set_input_embeddings(self._whole)
        try:
            yield
        finally:
            self._model.set_input_embeddings(self._trained)

    @torch.no_grad()
    def _fill(self, trained: SeenWords) -> None:
        self._whole.weight.index_copy_(0, self._places[True], trained.weight)
        self._whole.weight.index_copy_(0, self._places[False], trained.unseen * self.decay)


def _is_tied(model: PreTrainedModel, words: nn.Embedding) -> bool:
    """Return whether the table is also that of the words that are predicted: then every row of it has a gradient."""
    output: Any = cast("Any", model).get_output_embeddings()
    return output is not None and getattr(output, "weight", None) is words.weight
