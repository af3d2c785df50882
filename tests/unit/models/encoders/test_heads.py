"""Encoders without their pooler, whether their forward asks for one or not."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForMaskedLM

from cmlm_kd.models.encoders.heads import split_masked_lm

SIZES = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.mark.parametrize("kind", ["bert", "squeezebert"])
def test_an_encoder_without_its_pooler(kind):
    more = {"embedding_size": 32} if kind == "squeezebert" else {}
    config = AutoConfig.for_model(kind, **SIZES, intermediate_size=48, **more)
    model = AutoModelForMaskedLM.from_config(config).eval()
    ids = torch.tensor([[2, 7, 3]])
    expected = model.base_model(input_ids=ids).last_hidden_state
    encoder, _ = split_masked_lm(model, has_head=False)
    assert torch.equal(encoder(input_ids=ids).last_hidden_state, expected)
    assert not [name for name, _ in encoder.named_parameters() if "pooler" in name]
