"""Attention scores against the attention that transformers returns."""

import pytest
import torch
from tiny_encoders import make_config
from transformers import AutoModel, AutoModelForSequenceClassification

from cmlm_kd.errors import UserError
from cmlm_kd.models.encoders.layers import attention_scores


def make_encoder(family, implementation="sdpa", model=AutoModel, **settings):
    torch.manual_seed(0)
    encoder = model.from_config(make_config(family, **settings), attn_implementation=implementation)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.normal_(0, 0.3)
    return encoder.double().eval()


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(3, 40, (3, 7), generator=generator)
    mask = torch.ones(3, 7, dtype=torch.long)
    mask[1, 5:] = 0
    mask[2, 2:] = 0
    return {"input_ids": ids.masked_fill(mask == 0, 1), "attention_mask": mask}


def test_a_layer_that_runs_again_and_again_is_counted_as_often(batch):
    """ALBERT's, here with two layers in the one group; other families are compared in test_families."""
    fast, eager = (make_encoder("albert", kind, inner_group_num=2) for kind in ("sdpa", "eager"))
    expected = eager(**batch, output_attentions=True)
    layers = range(1, len(expected.attentions) + 1)
    with attention_scores(fast, layers, batch["attention_mask"]) as scores:
        output = fast(**batch)
    assert list(scores) == list(layers) and len(layers) == 4
    for layer, attention in enumerate(expected.attentions, start=1):
        torch.testing.assert_close(scores[layer].softmax(-1), attention, atol=1e-12, rtol=1e-9)
    torch.testing.assert_close(output.last_hidden_state, expected.last_hidden_state)


def test_scores_are_queries_times_keys_by_hand(batch):
    encoder = make_encoder("bert")
    with attention_scores(encoder, [2], batch["attention_mask"]) as scores:
        states = encoder(**batch, output_hidden_states=True).hidden_states[1]  # (3, 7, 16)
    attention = encoder.encoder.layer[1].attention.self
    head = slice(8, 16)
    query, key = attention.query(states)[..., head], attention.key(states)[..., head]
    expected = query[2, 1] @ key[2, 0] / 8**0.5
    assert scores[2][2, 1, 1, 0].item() == pytest.approx(expected.item(), abs=1e-12)
    masked = query[2, 1] @ key[2, 6] / 8**0.5 - 1e4
    assert scores[2][2, 1, 1, 6].item() == pytest.approx(masked.item(), abs=1e-9)


def test_only_what_is_asked_for_is_kept_and_nothing_stays_behind(batch):
    model = make_encoder("bert", model=AutoModelForSequenceClassification)
    before = model(**batch).logits
    with attention_scores(model, [2], batch["attention_mask"]) as scores:
        during = model(**batch)
    assert set(scores) == {2} and scores[2].shape == (3, 2, 7, 7)
    assert torch.equal(before, during.logits) and during.attentions is None
    assert not [module for module in model.modules() if module._forward_hooks]


def test_no_layers_no_work(batch):
    encoder = make_encoder("bert")
    with attention_scores(encoder, [], batch["attention_mask"]) as scores:
        assert not encoder.encoder.layer[0].attention.self.query._forward_hooks
        encoder(**batch)
    assert scores == {}


def test_gradients_reach_the_student(batch):
    encoder = make_encoder("bert")
    with attention_scores(encoder, [1], batch["attention_mask"]) as scores:
        encoder(**batch)
    scores[1].sum().backward()
    first, second = encoder.encoder.layer
    assert first.attention.self.query.weight.grad.abs().sum() > 0
    assert encoder.embeddings.word_embeddings.weight.grad.abs().sum() > 0
    assert second.attention.self.query.weight.grad is None


def test_half_precision_under_autocast(batch):
    encoder = make_encoder("bert").float()
    with attention_scores(encoder, [1], batch["attention_mask"]) as exact:
        encoder(**batch)
    with (
        torch.autocast("cpu", torch.bfloat16),
        attention_scores(encoder, [1], batch["attention_mask"]) as scores,
    ):
        encoder(**batch)
    assert scores[1].dtype == torch.bfloat16
    real = batch["attention_mask"][:, None, None, :].expand_as(exact[1]) == 1
    torch.testing.assert_close(scores[1].float()[real], exact[1][real], atol=0.15, rtol=0.05)
    assert (scores[1][~real] < -9000).all()


def test_hooks_go_when_the_forward_fails(batch):
    encoder = make_encoder("bert")
    with pytest.raises(IndexError), attention_scores(encoder, [1], batch["attention_mask"]):
        encoder(input_ids=torch.full((1, 2), 10_000))
    assert not [module for module in encoder.modules() if module._forward_hooks]


def test_a_layer_that_is_not_there(batch):
    encoder = make_encoder("bert")
    with (
        pytest.raises(UserError, match="layer 3, 4 were asked for; the bert model ran 2 layers"),
        attention_scores(encoder, [2, 3, 4], batch["attention_mask"]),
    ):
        encoder(**batch)
