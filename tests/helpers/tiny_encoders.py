"""Hugging Face encoders of many kinds with tiny random weights."""

import torch
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM

import cmlm_kd.models.encoders.ib_bert  # noqa: F401 - the Auto classes learn about it

PIECES = 40
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
FAMILIES = {
    "bert": SIZES,
    "roberta": {**SIZES, "pad_token_id": 1, "type_vocab_size": 1},
    "xlm-roberta": {**SIZES, "pad_token_id": 1, "type_vocab_size": 1},
    "camembert": {**SIZES, "pad_token_id": 1, "type_vocab_size": 1},
    "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24},
    "electra": {**SIZES, "embedding_size": 8},
    "albert": {**SIZES, "embedding_size": 8},
    "mpnet": {**SIZES, "pad_token_id": 1},
    "deberta-v2": {**SIZES, "pad_token_id": 1},
    "modernbert": {**SIZES, "pad_token_id": 1, "global_attn_every_n_layers": 1},
}
BOTTLENECKS = {**SIZES, "intra_bottleneck_size": 8, "embedding_size": 8}
EVERY_FAMILY = {
    **FAMILIES,
    "data2vec-text": {**SIZES, "pad_token_id": 1, "type_vocab_size": 1},
    "deberta": SIZES,
    "ernie": SIZES,
    "ib-bert": BOTTLENECKS,
    "mobilebert": BOTTLENECKS,
}


def make_config(family, **settings):
    common = {"vocab_size": PIECES, "max_position_embeddings": 40}
    return AutoConfig.for_model(family, **{**common, **EVERY_FAMILY[family], **settings})


def write_encoder(directory, family="bert", *, head=True, seed=0, **settings):
    """Write config and weights, with or without a masked-LM head; returns the model."""
    config = make_config(family, **settings)
    model = (AutoModelForMaskedLM if head else AutoModel).from_config(config)
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
    model.save_pretrained(directory)
    return model.eval()
