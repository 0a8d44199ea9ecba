"""The shape of the tiny networks, the configuration class of each architecture, and networks cut everywhere."""

from __future__ import annotations

import transformers
from transformers import PreTrainedModel

from pipeline.model.surgery import cut
from pipeline.trial.conformance.networks import tiny_network

VOCABULARY = 100
POSITIONS = 40
LONGEST = 24  # tokens of a row

CONFIGS = {
    "bert": transformers.BertConfig,
    "roberta": transformers.RobertaConfig,
    "xlm-roberta": transformers.XLMRobertaConfig,
    "distilbert": transformers.DistilBertConfig,
    "electra": transformers.ElectraConfig,
    "camembert": transformers.CamembertConfig,
}
FIRST_WORD = 5  # lower token numbers are special in one family or another
KINDS = tuple(sorted(CONFIGS))


def network_cut_everywhere(kind: str) -> PreTrainedModel:
    """Return a tiny network of 4 layers without one, without an attention, without an ffn, and narrower elsewhere."""
    model, anatomy = tiny_network(kind, layers=4)
    masks = anatomy.present
    masks.heads[1, 1:] = masks.heads[2] = masks.neurons[3] = masks.neurons[1, 10:] = False
    masks.heads[0] = masks.neurons[0] = masks.layers[0] = False
    cut(model, anatomy, masks)
    return model
