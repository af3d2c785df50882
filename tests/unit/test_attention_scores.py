"""Recorded scores and states against what transformers returns."""

import pytest
import torch
from tiny_encoders import make_config
from transformers import AutoModel, AutoModelForSequenceClassification

from cmlm_kd.errors import UserError
from cmlm_kd.teachers.attention_scores import depth, hide_padding, recorded_layers

MOBILE = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16, "hidden_size": 16}
SETTINGS = {
    "bert": {},
    "roberta": {},
    "xlm-roberta": {},
    "camembert": {},
    "distilbert": {},
    "electra": {},
    "albert": {"inner_group_num": 2},
    "mobilebert": {**MOBILE, "true_hidden_size": 8, "intra_bottleneck_size": 8, "embedding_size": 8},
}


def make_encoder(family, implementation="sdpa", model=AutoModel):
    if family == "mobilebert":
        from transformers import MobileBertConfig

        config = MobileBertConfig(vocab_size=40, max_position_embeddings=40, **SETTINGS[family])
    else:
        config = make_config(family, **SETTINGS[family])
    torch.manual_seed(0)
    encoder = model.from_config(config, attn_implementation=implementation)
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


@pytest.mark.parametrize("family", SETTINGS)
def test_softmax_of_the_scores_is_the_attention_transformers_returns(family, batch):
    fast, eager = make_encoder(family), make_encoder(family, "eager")
    expected = eager(**batch, output_attentions=True, output_hidden_states=True)
    layers = depth(fast.config)
    assert len(expected.attentions) == layers
    with recorded_layers(fast, hidden=range(layers + 1), scores=range(1, layers + 1)) as seen:
        output = fast(**batch)
    for layer, attention in enumerate(expected.attentions, start=1):
        softmax = hide_padding(seen.scores[layer], batch["attention_mask"]).softmax(-1)
        torch.testing.assert_close(softmax, attention)
    for layer, states in enumerate(expected.hidden_states):
        torch.testing.assert_close(seen.hidden[layer], states)
    torch.testing.assert_close(output.last_hidden_state, expected.last_hidden_state)


def test_scores_are_queries_times_keys_by_hand(batch):
    encoder = make_encoder("bert")
    with recorded_layers(encoder, hidden=[1], scores=[2]) as seen:
        encoder(**batch)
    attention = encoder.encoder.layer[1].attention.self
    query, key = attention.query(seen.hidden[1]), attention.key(seen.hidden[1])  # (3, 7, 16)
    head = slice(8, 16)
    expected = query[2, 1, head] @ key[2, 0, head] / 8**0.5
    assert seen.scores[2][2, 1, 1, 0].item() == pytest.approx(expected.item(), abs=1e-12)


def test_only_what_is_asked_for_is_kept_and_nothing_stays_behind(batch):
    model = make_encoder("bert", model=AutoModelForSequenceClassification)
    before = model(**batch).logits
    with recorded_layers(model, hidden=[0], scores=[2]) as seen:
        during = model(**batch).logits
    assert set(seen.hidden) == {0} and set(seen.scores) == {2}
    after = model(**batch)
    assert torch.equal(before, during) and torch.equal(before, after.logits)
    assert after.hidden_states is None and set(seen.scores) == {2}
    hooks = [module for module in model.modules() if module._forward_hooks or module._forward_pre_hooks]
    assert not hooks


def test_gradients_reach_the_student(batch):
    encoder = make_encoder("bert")
    with recorded_layers(encoder, scores=[1]) as seen:
        encoder(**batch)
    seen.scores[1].sum().backward()
    first, second = encoder.encoder.layer
    assert first.attention.self.query.weight.grad.abs().sum() > 0
    assert encoder.embeddings.word_embeddings.weight.grad.abs().sum() > 0
    assert second.attention.self.query.weight.grad is None


def test_hooks_go_when_the_forward_fails(batch):
    encoder = make_encoder("bert")
    with pytest.raises(IndexError), recorded_layers(encoder, scores=[1]):
        encoder(input_ids=torch.full((1, 2), 10_000))
    assert not encoder.encoder.layer[0]._forward_hooks


@pytest.mark.parametrize(
    ("family", "hidden", "scores", "message"),
    [
        ("bert", [3], [], "no layer 3 in a bert model of 2; choose 0 to 2"),
        ("bert", [], [0], "choose 1 to 2"),
        ("deberta-v2", [], [1], "deberta-v2 model can't be compared"),
        ("modernbert", [1], [], "supported are albert, bert"),
    ],
)
def test_refusals(family, hidden, scores, message):
    encoder = AutoModel.from_config(make_config(family))
    with (
        pytest.raises(UserError, match="tinybert_kd: ") as refusal,
        recorded_layers(encoder, hidden=hidden, scores=scores, owner="tinybert_kd"),
    ):
        pass
    assert message in str(refusal.value)
