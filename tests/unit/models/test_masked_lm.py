import pytest
import torch
from tiny_encoders import PIECES, write_encoder
from transformers import AutoConfig, AutoModelForMaskedLM

from cmlm_kd.api.needs import Request
from cmlm_kd.api.sources import TeacherBatch
from cmlm_kd.errors import UserError
from cmlm_kd.models.masked_lm import MaskedLM
from cmlm_kd.teachers.masked_lm import MaskedLMTeacher

VOCABULARY = 100
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "pad_token_id": 0,
}
FAMILIES = {
    "bert": SIZES,
    "roberta": SIZES,
    "xlm-roberta": SIZES,
    "distilbert": {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 16, "pad_token_id": 0},
    "electra": {**SIZES, "embedding_size": 8},
    "albert": {**SIZES, "embedding_size": 8},
    "deberta-v2": SIZES,
    "mpnet": SIZES,
    "modernbert": SIZES,
}


def text_batch(input_ids, attention_mask, masked_index):
    inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "masked_index": masked_index}
    return TeacherBatch(torch.arange(len(input_ids)), inputs)


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_and_gradients_are_those_of_the_whole_model_at_the_masked_positions(family):
    torch.manual_seed(1)
    config = AutoConfig.for_model(family, vocab_size=VOCABULARY, **FAMILIES[family])
    ours = MaskedLM(AutoModelForMaskedLM.from_config(config)).eval()
    input_ids = torch.randint(5, VOCABULARY, (3, 7))  # (B, S)
    attention_mask = torch.ones_like(input_ids)
    attention_mask[1, 4:] = 0
    masked = torch.tensor([1, 6, 9, 20])
    weights = torch.randn(len(masked), VOCABULARY)  # (M, V)
    logits = ours(input_ids, attention_mask, masked)
    (logits * weights).sum().backward()
    gradient = ours.model.get_input_embeddings().weight.grad.clone()

    ours.zero_grad()
    whole = ours.model(input_ids=input_ids, attention_mask=attention_mask).logits
    expected = whole.flatten(0, 1)[masked]
    (expected * weights).sum().backward()
    torch.testing.assert_close(logits, expected)
    torch.testing.assert_close(gradient, ours.model.get_input_embeddings().weight.grad)


def test_an_encoder_without_masked_form_is_refused(tmp_path):
    from transformers import GPT2Config

    GPT2Config(n_embd=8, n_layer=1, n_head=1).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="is a gpt2 model, not a bidirectional encoder"):
        MaskedLM.from_pretrained(str(tmp_path))


def test_a_directory_without_model_is_named(tmp_path):
    with pytest.raises(UserError, match="cannot load a masked language model from"):
        MaskedLM.from_pretrained(str(tmp_path))


SKIPPING = ("bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert", "albert")


def as_teacher(model):
    model = MaskedLM(model)
    return MaskedLMTeacher(model, model.describe("teacher", "hash"))


@pytest.mark.parametrize("family", SKIPPING)
def test_a_teacher_says_what_plain_transformers_says(tmp_path, family):
    """Predictions, hidden states and attention of one pass, and of one that needs the first layer alone."""
    layers = "n_layers" if family == "distilbert" else "num_hidden_layers"
    plain = write_encoder(tmp_path, family, **{layers: 3})
    teacher = as_teacher(AutoModelForMaskedLM.from_pretrained(tmp_path))
    ids = torch.randint(5, PIECES, (2, 6), generator=torch.Generator().manual_seed(1))  # (B, S)
    mask = torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
    ids = ids.masked_fill(mask == 0, plain.config.pad_token_id)
    hidden = torch.tensor([1, 4, 8])
    plain.set_attn_implementation("eager")
    with torch.no_grad():
        whole = plain(ids, mask, output_hidden_states=True, output_attentions=True)

    def check(signal, request):
        assert signal.hidden_states.keys() == set(request.hidden_states)
        for layer, states in signal.hidden_states.items():
            torch.testing.assert_close(states, whole.hidden_states[layer])
        assert signal.attention_scores.keys() == set(request.attention_scores)
        for layer, scores in signal.attention_scores.items():
            torch.testing.assert_close(scores.softmax(-1), whole.attentions[layer - 1])

    for predictions, rows in (("masked", hidden), ("real", mask.flatten().nonzero().squeeze(1))):
        request = Request((0, 3), attention_scores=(1, 3), predictions=predictions)
        signal = teacher.signal(text_batch(ids, mask, hidden), request)
        check(signal, request)
        torch.testing.assert_close(signal.vocabulary_logits(), whole.logits.flatten(0, 1)[rows])
    ran = []
    for name, module in teacher.named_modules():
        if name.endswith(("attention.self.query", "attention.q_lin", "attention.query")):
            module.register_forward_hook(lambda *_: ran.append(1))
    request = Request((0, 1), attention_scores=(1,), predictions="none")
    signal = teacher.signal(text_batch(ids, mask, hidden), request)
    check(signal, request)
    assert not signal.predicts
    assert len(ran) == (3 if family == "albert" else 1)  # its one layer runs three times
    again = Request((3,), predictions="none")
    check(teacher.signal(text_batch(ids, mask, hidden), again), again)


def test_dropout_of_a_teacher_is_on_request(tmp_path):
    write_encoder(tmp_path)
    teacher = as_teacher(AutoModelForMaskedLM.from_pretrained(tmp_path))
    batch = torch.full((1, 8), 7), torch.ones(1, 8, dtype=torch.long), torch.tensor([1])
    request = Request((2,), predictions="none")

    def states(dropout):
        return teacher.signal(text_batch(*batch), request, dropout=dropout).hidden_states[2]

    calm = states(False)
    assert not torch.equal(states(True), calm) and not torch.equal(states(True), states(True))
    assert torch.equal(states(False), calm)
