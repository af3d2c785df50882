"""Every keyword that our calls give to a Hugging Face encoder has an effect."""

import functools
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from forward_keywords import keywords_without_effect
from tiny_classification import make_tokenizer
from tiny_encoders import EVERY_FAMILY, make_config
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification

import cmlm_kd
from cmlm_kd.api.needs import Request
from cmlm_kd.models.classifier import SequenceClassifier
from cmlm_kd.models.cmlm import ConditionalMaskedLM
from cmlm_kd.models.encoders.heads import split_masked_lm
from cmlm_kd.models.masked_lm import MaskedLM

IDS = torch.tensor([[2, 7, 9, 11, 3], [2, 8, 3, 0, 0]])
MASK = (torch.arange(5) < torch.tensor([[5], [3]])).long()  # (2, 5)
TYPES = torch.tensor([[0, 0, 1, 1, 1], [0, 1, 1, 0, 0]])
MASKED = torch.tensor([1, 6])
TWO_TYPES = [
    family for family in EVERY_FAMILY if family in ("bert", "electra", "albert", "ernie", "mobilebert")
]


def without_effect(called, call, least):
    """Leave out each keyword that a call of ours gives to ``called``."""
    return keywords_without_effect(called, lambda: values(call()), least)


def values(output):
    """All numbers that a call returned, as one vector."""
    if torch.is_tensor(output):
        return output.flatten()
    parts = [
        output.logits,
        output.features,
        *output.hidden_states.values(),
        *output.attention_scores.values(),
    ]
    return torch.cat([part.flatten() for part in parts if part is not None])


def spread(model):
    torch.manual_seed(0)
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.3)
    return model.eval()


@pytest.mark.parametrize("family", EVERY_FAMILY)
def test_masked_language_models(family):
    student = MaskedLM(spread(AutoModelForMaskedLM.from_config(make_config(family))))
    request = Request(hidden_states=(1,), predictions="real")
    observed = functools.partial(student.observe, IDS, MASK, MASKED, request)
    least = {"input_ids", "attention_mask", "output_hidden_states"}
    assert not without_effect(student.model, observed, least)
    states = functools.partial(
        student.observe, IDS, MASK, MASKED, Request(hidden_states=(1, 2), predictions="none")
    )
    assert not without_effect(student.model.base_model, states, least)


@pytest.mark.parametrize("family", TWO_TYPES)
def test_models_that_tell_sentences_apart(family):
    least = {"input_ids", "attention_mask", "token_type_ids"}
    student = MaskedLM(spread(AutoModelForMaskedLM.from_config(make_config(family))))
    predict = functools.partial(student, IDS, MASK, MASKED, TYPES)
    assert not without_effect(student.model, predict, least)
    model = spread(AutoModelForSequenceClassification.from_config(make_config(family)))
    classifier = SequenceClassifier(model, make_tokenizer(), "tiny")
    observed = functools.partial(classifier, IDS, MASK, TYPES, Request(hidden_states=(1,)))
    assert not without_effect(classifier.model, observed, least | {"output_hidden_states"})


def test_a_conditional_masked_language_model():
    encoder, transform = split_masked_lm(spread(AutoModelForMaskedLM.from_config(make_config("bert"))))
    teacher = spread(ConditionalMaskedLM(encoder, transform, 20, 16))
    batch = SimpleNamespace(input_ids=IDS, attention_mask=MASK, token_type_ids=TYPES, masked_index=MASKED)
    call = functools.partial(teacher, batch)
    least = {"input_ids", "attention_mask", "token_type_ids"}
    assert not without_effect(encoder, call, least)


def test_the_check_finds_a_misspelt_keyword():
    model = spread(AutoModelForMaskedLM.from_config(make_config("bert")))
    idle = without_effect(model, lambda: model(input_ids=IDS, attn_mask=MASK).logits, {"input_ids"})
    assert idle == ["attn_mask"]


def test_nobody_asks_transformers_for_attentions():
    """Under its default attention it answers with an empty tuple; scores are read by hooks instead."""
    repository = Path(cmlm_kd.__file__).parents[1]
    sources = [path for part in ("cmlm_kd", "fairseq_plugins") for path in (repository / part).rglob("*.py")]
    assert len(sources) > 100
    assert not [path for path in sources if "output_attentions" in path.read_text(encoding="utf-8")]
