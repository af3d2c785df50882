import pytest
import torch
from transformers import AutoConfig, AutoModelForMaskedLM

from cmlm_kd.errors import UserError
from cmlm_kd.teachers.masked_lm import MaskedLM

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
