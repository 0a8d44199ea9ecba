"""The shape of the tiny networks, and the configuration class of each architecture."""

from __future__ import annotations

import transformers

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
