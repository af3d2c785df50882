"""Masked-LM heads of unusual forms: a published DeBERTa, and an encoder that insists on its pooler."""

import json

import pytest
import torch
from tiny_encoders import write_encoder
from transformers import AutoConfig, AutoModelForMaskedLM

from cmlm_kd.api.needs import Request
from cmlm_kd.models.encoders.heads import has_head, split_masked_lm, without_output_layer
from cmlm_kd.models.encoders.pretrained import load_encoder_and_transform, load_masked_lm
from cmlm_kd.models.masked_lm import MaskedLM

IDS, MASK = torch.tensor([[2, 7, 3, 0]]), torch.tensor([[1, 1, 1, 0]])


@pytest.fixture(params=["deberta", "deberta-v2"])
def published(request, tmp_path):
    """A directory as DeBERTa is published: its config says nothing of the head's form; and the model."""
    model = write_encoder(tmp_path, request.param, legacy=False)
    described = json.loads((tmp_path / "config.json").read_text())
    del described["legacy"]
    (tmp_path / "config.json").write_text(json.dumps(described))
    return str(tmp_path), model


@torch.no_grad()
def test_the_head_of_a_published_deberta_is_found(published):
    folder, model = published
    wanted = model(input_ids=IDS, attention_mask=MASK).logits
    loaded, missing = load_masked_lm(folder)
    assert not missing and has_head(loaded, missing)
    torch.testing.assert_close(loaded(input_ids=IDS, attention_mask=MASK).logits, wanted)
    encoder, transform = load_encoder_and_transform(folder)
    features = transform(encoder(input_ids=IDS, attention_mask=MASK).last_hidden_state)
    head = model.lm_predictions.lm_head
    logits = features @ model.get_input_embeddings().weight.t() + head.bias
    torch.testing.assert_close(logits, wanted)
    again = MaskedLM.from_config(loaded.config.to_dict())  # as a checkpoint describes it
    assert again.model.state_dict().keys() == loaded.state_dict().keys()


@torch.no_grad()
def test_its_predictions_come_as_features(published):
    folder, model = published
    student = MaskedLM.from_pretrained(folder, with_head=True).eval()
    output = student.observe(IDS, MASK, torch.tensor([1]), Request())
    wanted = model(input_ids=IDS, attention_mask=MASK).logits[0, output.positions]
    torch.testing.assert_close(output.features @ output.weight.t() + output.bias, wanted)
    torch.testing.assert_close(student(IDS, MASK, torch.tensor([1])), wanted)


def test_a_deberta_without_its_head_is_known(tmp_path):
    write_encoder(tmp_path, "deberta-v2", legacy=False, head=False)
    loaded, missing = load_masked_lm(str(tmp_path))
    assert not has_head(loaded, missing)


@pytest.mark.parametrize("family", ["squeezebert", "layoutlm"])
@torch.no_grad()
def test_an_encoder_that_calls_its_pooler_whatever(family):
    sizes = {"hidden_size": 32, "embedding_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = AutoConfig.for_model(family, vocab_size=50, intermediate_size=48, **sizes)
    model = AutoModelForMaskedLM.from_config(config).eval()
    wanted = model(input_ids=IDS, attention_mask=MASK).logits
    encoder, transform = split_masked_lm(model)
    states = encoder(input_ids=IDS, attention_mask=MASK).last_hidden_state
    assert not [name for name, _ in encoder.named_parameters() if "pooler" in name]
    torch.testing.assert_close(model.get_output_embeddings()(transform(states)), wanted)
    with without_output_layer(model) as layer:
        model(input_ids=IDS, attention_mask=MASK)
    assert layer.asked
