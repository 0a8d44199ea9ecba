"""A family that nobody has: its network and its row. What is general takes it up by the row alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
import transformers
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput, SequenceClassifierOutput

from pipeline.model.architectures import ARCHITECTURES
from pipeline.model.cut_blocks import Architecture, Branch, Part

KIND = "made-up"

# Values before keys and queries in one map; three maps before the neurons, one of them without a bias; a norm before
# the blocks, factors behind the attention; other names for all sizes.
ROW = Architecture(
    layers="stack.floors",
    attention=Branch(
        block="mix",
        parts=(Part("value_key_query", "mix.vkq", strides=3), Part("attention_output", "mix.out", side="in")),
        pre_norm="before_mix",
        scale="weigh",
    ),
    ffn=Branch(
        block="feed",
        parts=(
            Part("ffn_in", "feed.up"),
            Part("ffn_gates", "feed.gates", strides=2),
            Part("ffn_out", "feed.down", side="in"),
        ),
        pre_norm="before_feed",
    ),
    head_count=("count",),
    neurons="width",
)


class MadeUpConfig(transformers.PreTrainedConfig):
    model_type = KIND

    def __init__(
        self, vocab_size: int = 100, width: int = 64, max_position_embeddings: int = 40, **more: Any
    ) -> None:
        self.vocab_size, self.width, self.max_position_embeddings = vocab_size, width, max_position_embeddings
        self.hidden_size = more.pop("hidden_size", 32)
        self.num_hidden_layers = more.pop("num_hidden_layers", 3)
        self.num_attention_heads = more.pop("num_attention_heads", 4)
        super().__init__(**{"pad_token_id": 0} | more)


class Mix(nn.Module):
    def __init__(self, config: MadeUpConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.count = config.num_attention_heads
        self.vkq, self.out = nn.Linear(size, 3 * size), nn.Linear(size, size)

    def forward(self, hidden: Tensor, mask: Tensor) -> tuple[Tensor, None]:
        rows, tokens, _ = hidden.shape
        value, key, query = self.vkq(hidden).view(rows, tokens, 3, self.count, -1).permute(2, 0, 3, 1, 4)
        context = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.out(context.transpose(1, 2).flatten(2)), None


class Weigh(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.factors = nn.Parameter(torch.ones(size))

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden * self.factors


class Feed(nn.Module):
    def __init__(self, config: MadeUpConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.hidden_size, config.width, bias=False)
        self.gates = nn.Linear(config.hidden_size, 2 * config.width)
        self.down = nn.Linear(config.width, config.hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        first, second = self.gates(hidden).chunk(2, dim=-1)
        return self.down(self.up(hidden) * first.tanh() * second.sigmoid())


class Floor(nn.Module):
    def __init__(self, config: MadeUpConfig) -> None:
        super().__init__()
        self.before_mix, self.before_feed = nn.RMSNorm(config.hidden_size), nn.RMSNorm(config.hidden_size)
        self.mix, self.weigh, self.feed = Mix(config), Weigh(config.hidden_size), Feed(config)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        hidden = hidden + self.weigh(self.mix(self.before_mix(hidden), mask)[0])
        return hidden + self.feed(self.before_feed(hidden))


class MadeUpModel(transformers.PreTrainedModel):
    config_class, base_model_prefix, _supports_sdpa = MadeUpConfig, "made_up", True

    def __init__(self, config: MadeUpConfig) -> None:
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.hidden_size)
        self.stack = nn.ModuleDict(
            {"floors": nn.ModuleList(Floor(config) for _ in range(config.num_hidden_layers))}
        )
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        return self.words

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **_: object) -> BaseModelOutput:
        hidden, mask = self.words(input_ids), attention_mask.bool()[:, None, None, :]
        for floor in self.stack["floors"]:
            hidden = floor(hidden, mask)
        return BaseModelOutput(last_hidden_state=hidden)


class MadeUpForSequenceClassification(transformers.PreTrainedModel):
    config_class, base_model_prefix, _supports_sdpa = MadeUpConfig, "made_up", True

    def __init__(self, config: MadeUpConfig) -> None:
        super().__init__(config)
        self.made_up = MadeUpModel(config)
        self.score = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None, **_: object
    ) -> SequenceClassifierOutput:
        logits = self.score(self.made_up(input_ids, attention_mask).last_hidden_state[:, 0])
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


@contextmanager
def made_up() -> Iterator[str]:
    """The family as a package brings it: its classes are known to the library, and its row stands in the table."""
    transformers.AutoConfig.register(KIND, MadeUpConfig, exist_ok=True)
    transformers.AutoModelForSequenceClassification.register(
        MadeUpConfig, MadeUpForSequenceClassification, exist_ok=True
    )
    with patch.dict(ARCHITECTURES, {KIND: ROW}):
        yield KIND
