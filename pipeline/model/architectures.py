"""The architectures that can be cut: a row for each, and nothing else.

A row says where units live (`cut_blocks.Architecture`); methods, gates, masks, reconstruction, counts, latency and
the cut itself read it. To add one: a row here, a tiny configuration in `pipeline/trial/conformance/networks.py`, and a
line in docs/guide/architectures.md. Other packages bring rows of their own (pipeline/study/entry_points.py).
"""

from __future__ import annotations

from typing import Any

from pipeline.model.cut_blocks import Architecture, Branch, Part


def _output(name: str, path: str) -> Part:
    return Part(name, path, side="in")


def _separate(block: str, query: str, key: str, value: str) -> tuple[Part, ...]:
    """Return maps for queries, keys and values, each below the block."""
    return (
        Part("query", f"{block}.{query}"),
        Part("key", f"{block}.{key}"),
        Part("value", f"{block}.{value}"),
    )


BERT = Architecture(
    layers="encoder.layer",
    attention=Branch(
        block="attention.self",
        parts=(
            *_separate("attention.self", "query", "key", "value"),
            _output("attention_output", "attention.output.dense"),
        ),
        post_norm="attention.output.LayerNorm",
        adds="attention.output",
    ),
    ffn=Branch(
        block="intermediate",
        parts=(Part("ffn_in", "intermediate.dense"), _output("ffn_out", "output.dense")),
        post_norm="output.LayerNorm",
        adds="output",
    ),
    head_count=("num_attention_heads",),
    head_width=("all_head_size",),
    plain_scores=True,
    adds_mask=True,
)
ROBERTA = BERT._replace(positions_after_padding=True)
DISTILBERT = Architecture(
    layers="transformer.layer",
    attention=Branch(
        block="attention",
        parts=(
            *_separate("attention", "q_lin", "k_lin", "v_lin"),
            _output("attention_output", "attention.out_lin"),
        ),
        post_norm="sa_layer_norm",
    ),
    ffn=Branch(
        block="ffn",
        parts=(Part("ffn_in", "ffn.lin1"), _output("ffn_out", "ffn.lin2")),
        post_norm="output_layer_norm",
    ),
    neurons="hidden_dim",
    head_count=("n_heads",),
    head_width=("dim",),
    plain_scores=True,
    adds_mask=True,
)
# Queries, keys and values in one map; gate and input of the feed-forward network, too. The first layer normalises
# nothing before its attention.
MODERNBERT = Architecture(
    layers="layers",
    attention=Branch(
        block="attn",
        parts=(Part("query_key_value", "attn.Wqkv", strides=3), _output("attention_output", "attn.Wo")),
        pre_norm="attn_norm",
    ),
    ffn=Branch(
        block="mlp",
        parts=(Part("ffn_in", "mlp.Wi", strides=2), _output("ffn_out", "mlp.Wo")),
        pre_norm="mlp_norm",
    ),
    head_count=("num_heads",),  # in transformers 4
    head_width=("all_head_size",),
    layer_attributes=("attention_type",),
    window="sliding_window",
    fixed_pattern=True,
)
# Relative positions are embedded once for all layers, and read through each layer's query and key maps, or through
# maps of their own. The convolution of v2-xlarge stands between two layers.
DEBERTA_V2 = BERT._replace(
    attention=BERT.attention._replace(
        parts=(
            *_separate("attention.self", "query_proj", "key_proj", "value_proj"),
            Part("position_key", "attention.self.pos_key_proj", optional=True),
            Part("position_query", "attention.self.pos_query_proj", optional=True),
            _output("attention_output", "attention.output.dense"),
        )
    ),
    relative="encoder.rel_embeddings",
    returns_tuple=True,
    needs_layer=True,
    plain_scores=False,
    adds_mask=False,
    requires=(("conv_kernel_size", 0),),
)
# Position biases are a table of all heads, shared by the layers: a layer with fewer heads picks its columns.
MPNET = BERT._replace(
    attention=Branch(
        block="attention.attn",
        parts=(*_separate("attention.attn", "q", "k", "v"), _output("attention_output", "attention.attn.o")),
        post_norm="attention.LayerNorm",
        dropout="attention.dropout",
    ),
    head_table="position_bias",
    returns_tuple=True,
    plain_scores=False,
    positions_after_padding=True,
)


def _rotary(ffn: tuple[Part, ...]) -> Architecture:
    """Return a post-LayerNorm encoder with rotary positions, of this feed-forward network."""
    return Architecture(
        layers="layers",
        attention=Branch(
            block="self_attn",
            parts=(
                *_separate("self_attn", "q_proj", "k_proj", "v_proj"),
                _output("attention_output", "self_attn.o_proj"),
            ),
            post_norm="post_attention_layernorm",
            dropout="post_attention_dropout",
        ),
        ffn=Branch(block="mlp", parts=ffn, post_norm="post_mlp_layernorm", dropout="post_mlp_dropout"),
        adds_mask=True,
        plain_heads=True,
    )


GATED = (
    Part("ffn_gate", "mlp.gate_proj"),
    Part("ffn_in", "mlp.up_proj"),
    _output("ffn_out", "mlp.down_proj"),
)
NOMIC_BERT = _rotary(GATED)
JINA_V3 = _rotary((Part("ffn_in", "mlp.fc1"), _output("ffn_out", "mlp.fc2")))
# Queries of several heads share a key and a value: a unit is such a group.
LLAMA = NOMIC_BERT._replace(
    attention=NOMIC_BERT.attention._replace(pre_norm="input_layernorm", post_norm=None, dropout=None),
    ffn=NOMIC_BERT.ffn._replace(pre_norm="post_attention_layernorm", post_norm=None, dropout=None),
    units="num_key_value_heads",
    causal=True,
    adds_mask=False,
    plain_heads=False,  # its configuration takes numbers of heads that divide the hidden size
)
EUROBERT = LLAMA._replace(causal=False)
QWEN3 = LLAMA._replace(
    attention=LLAMA.attention._replace(rest=("self_attn.q_norm", "self_attn.k_norm")),
    window="sliding_window",
    plain_heads=True,
)
GPT2 = Architecture(
    layers="h",
    attention=Branch(
        block="attn",
        parts=(Part("query_key_value", "attn.c_attn", strides=3), _output("attention_output", "attn.c_proj")),
        pre_norm="ln_1",
    ),
    ffn=Branch(
        block="mlp",
        parts=(Part("ffn_in", "mlp.c_fc"), _output("ffn_out", "mlp.c_proj")),
        pre_norm="ln_2",
    ),
    neurons="n_inner",
    head_count=("num_heads",),
    head_width=("split_size",),
    causal=True,
)

VIT = Architecture(
    layers="layers",
    attention=Branch(
        block="attention",
        parts=(
            *_separate("attention", "q_proj", "k_proj", "v_proj"),
            _output("attention_output", "attention.o_proj"),
        ),
        pre_norm="layernorm_before",
        dropout="dropout",
    ),
    ffn=Branch(
        block="mlp",
        parts=(Part("ffn_in", "mlp.fc1"), _output("ffn_out", "mlp.fc2")),
        pre_norm="layernorm_after",
        dropout="dropout",
    ),
    head_count=("num_attention_heads",),
    plain_scores=True,
    plain_heads=True,
)
# A block's output is multiplied by LayerScale before it is added. The larger models have a gated feed-forward network.
DINOV3_VIT = Architecture(
    layers="model.layer",
    attention=VIT.attention._replace(pre_norm="norm1", scale="layer_scale1", dropout="drop_path"),
    ffn=Branch(
        block="mlp",
        parts=(
            Part("ffn_gate", "mlp.gate_proj", optional=True),
            Part("ffn_in", "mlp.up_proj"),
            _output("ffn_out", "mlp.down_proj"),
        ),
        pre_norm="norm2",
        scale="layer_scale2",
        dropout="drop_path",
    ),
    head_count=("num_heads",),
    own_head=True,
)

# By `config.model_type`.
ARCHITECTURES: dict[str, Architecture] = {
    "bert": BERT,
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA,
    "distilbert": DISTILBERT,
    "electra": BERT,
    "camembert": ROBERTA,
    "modernbert": MODERNBERT,
    "deberta-v2": DEBERTA_V2,
    "mpnet": MPNET,
    "nomic_bert": NOMIC_BERT,
    "gte": NOMIC_BERT,
    "jina_embeddings_v3": JINA_V3,
    "eurobert": EUROBERT,
    "gpt2": GPT2,
    "llama": LLAMA,
    "qwen3": QWEN3,
    "vit": VIT,
    "dinov3_vit": DINOV3_VIT,
}

# Families that people ask for, and why they have no row: a refusal says so.
_NORMALISED = (
    "it normalises what a block gives before that is added, and a refitted block would be normalised again"
)
_DECODER = "its decoder reads the encoder by cross-attention, and no row describes how both are cut"
_THEIR_CODE = "transformers has no class of it, and a model's own code is not run"
WITHOUT_ROW: dict[str, str] = {
    "gemma2": _NORMALISED,
    "gemma3": _NORMALISED,
    "gemma3_text": _NORMALISED,
    "whisper": _DECODER,
    "bart": _DECODER,
    "t5": _DECODER,
    "mt5": _DECODER,
    "neobert": _THEIR_CODE,
}


def row_to_json(row: Any) -> Any:
    """Return a row as JSON: what differs from the defaults. `Architecture.from_json` reads it."""
    if isinstance(row, Part | Branch | Architecture):
        defaults = row._field_defaults
        return {
            name: row_to_json(value)
            for name, value in row._asdict().items()
            if name not in defaults or value != defaults[name]
        }
    return [row_to_json(each) for each in row] if isinstance(row, tuple) else row
