"""Students made of a teacher's layers: their outputs against the teacher's own layers, and saving."""

import pytest
import torch
from transformers import (
    AlbertConfig,
    AlbertForMaskedLM,
    AutoModelForMaskedLM,
    BertConfig,
    BertForMaskedLM,
    DistilBertForMaskedLM,
    RobertaConfig,
    RobertaForMaskedLM,
)

from cmlm_kd.errors import UserError
from cmlm_kd.models.inherit import check_layers, distilbert_from_bert, parse_layers, shallower

RELEASED = (0, 2, 4, 7, 9, 11)
SIZES = {
    "vocab_size": 30,
    "hidden_size": 8,
    "num_hidden_layers": 12,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 16,
    "initializer_range": 0.5,  # large, so that layers do something
}


def randomised(model):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) / 5)  # biases are no longer 0
    return model.eval()


@pytest.fixture(scope="module")
def bert():
    return randomised(BertForMaskedLM(BertConfig(**SIZES, hidden_act="relu")))


@pytest.fixture(scope="module")
def batch():
    ids = torch.arange(2 * 6).reshape(2, 6) + 3
    return {"input_ids": ids, "attention_mask": torch.tensor([[1] * 6, [1] * 4 + [0] * 2])}


def through_layers(bert, layers, batch, *, token_types=True):
    """Return hidden states and logits of some of the teacher's layers, run by hand."""
    embeddings = bert.bert.embeddings
    states = embeddings(batch["input_ids"])
    if not token_types:
        positions = torch.arange(batch["input_ids"].size(1))
        words = embeddings.word_embeddings(batch["input_ids"])
        states = embeddings.LayerNorm(words + embeddings.position_embeddings(positions))
    padding = (1.0 - batch["attention_mask"][:, None, None, :]) * torch.finfo(states.dtype).min
    all_states = [states]
    for layer in layers:
        output = bert.bert.encoder.layer[layer](all_states[-1], padding)
        all_states.append(output[0] if isinstance(output, tuple) else output)
    return all_states, bert.cls(all_states[-1])


@pytest.mark.parametrize("layers", [RELEASED, (3,), tuple(range(12))])
@pytest.mark.parametrize("form", ["distilbert", "bert"])
@torch.no_grad()
def test_outputs_are_those_of_the_copied_layers(bert, batch, layers, form):
    student = distilbert_from_bert(bert, layers) if form == "distilbert" else shallower(bert, layers)
    assert type(student) is (DistilBertForMaskedLM if form == "distilbert" else BertForMaskedLM)
    output = student(**batch, output_hidden_states=True)
    states, logits = through_layers(bert, layers, batch)
    assert len(output.hidden_states) == len(layers) + 1
    real = batch["attention_mask"].bool()
    for ours, theirs in zip(output.hidden_states, states, strict=True):
        torch.testing.assert_close(ours[real], theirs[real], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(output.logits[real], logits[real], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(logits[real], through_layers(bert, (5,), batch)[1][real], atol=0.1)


@torch.no_grad()
def test_token_types_dropped_as_the_released_code_does(bert, batch):
    student = distilbert_from_bert(bert, RELEASED, fold_token_types=False)
    positions = student.distilbert.embeddings.position_embeddings.weight
    assert torch.equal(positions, bert.bert.embeddings.position_embeddings.weight)
    states, _ = through_layers(bert, (), batch, token_types=False)
    found = student.distilbert.embeddings(batch["input_ids"])
    torch.testing.assert_close(found, states[0], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(found, through_layers(bert, (), batch)[0][0], atol=1e-2)


@pytest.mark.parametrize("form", [distilbert_from_bert, shallower])
@torch.no_grad()
def test_a_saved_student_is_the_same(bert, batch, form, tmp_path):
    student = form(bert, RELEASED)
    student.save_pretrained(tmp_path)
    loaded = AutoModelForMaskedLM.from_pretrained(tmp_path)
    assert type(loaded) is type(student) and loaded.config.num_hidden_layers == 6
    torch.testing.assert_close(loaded(**batch).logits, student(**batch).logits)


@pytest.mark.parametrize("form", [distilbert_from_bert, shallower])
def test_the_teacher_shares_nothing_and_the_student_ties_its_embeddings(bert, form):
    before = {name: value.clone() for name, value in bert.state_dict().items()}
    student = form(bert, (0, 5))
    assert student.get_output_embeddings().weight is student.get_input_embeddings().weight
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(value, before[name]) for name, value in bert.state_dict().items())
    assert bert.config.num_hidden_layers == 12


def test_an_untied_output_layer_stays_untied(batch):
    teacher = randomised(BertForMaskedLM(BertConfig(**SIZES, tie_word_embeddings=False)))
    student = distilbert_from_bert(teacher, (1,))
    assert torch.equal(student.vocab_projector.weight, teacher.cls.predictions.decoder.weight)
    assert not torch.equal(student.vocab_projector.weight, student.get_input_embeddings().weight)


def test_positions_can_be_kept_from_training(bert):
    def trained(**options):
        student = distilbert_from_bert(bert, (0,), **options)
        return student.distilbert.embeddings.position_embeddings.weight.requires_grad

    assert trained() and not trained(freeze_positions=True)


@torch.no_grad()
def test_a_roberta_gives_a_roberta(batch):
    sizes = SIZES | {"num_hidden_layers": 3, "max_position_embeddings": 20}
    teacher = randomised(RobertaForMaskedLM(RobertaConfig(**sizes)))
    student = shallower(teacher, (0, 2))
    assert type(student) is RobertaForMaskedLM and student.config.num_hidden_layers == 2
    first, last = (x(**batch, output_hidden_states=True).hidden_states for x in (student, teacher))
    torch.testing.assert_close(first[0], last[0])
    torch.testing.assert_close(first[1], last[1])
    with pytest.raises(UserError, match="RobertaForMaskedLM"):
        distilbert_from_bert(teacher, (0,))


def test_a_student_of_a_student(bert, batch):
    middle = distilbert_from_bert(bert, RELEASED)
    with torch.no_grad():
        expected = distilbert_from_bert(bert, (0, 4, 9))(**batch).logits
        torch.testing.assert_close(shallower(middle, (0, 2, 4))(**batch).logits, expected)


def test_shared_layers_cannot_be_taken_out():
    teacher = AlbertForMaskedLM(AlbertConfig(**SIZES, embedding_size=4))
    with pytest.raises(UserError, match="albert"):
        shallower(teacher, (0, 1))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((0, 12), "there is no layer 12; they count from 0 to 11"),
        ((-1, 3), "there is no layer -1"),
        ((0,) * 13, "deeper than its teacher"),
        ((2, 1), "rising order"),
        ((1, 1), "each once"),
        ((), "at least one"),
    ],
)
def test_impossible_layers(layers, message):
    with pytest.raises(UserError, match=message):
        check_layers(layers, 12, "distilbert_kd")


def test_layers_as_text():
    assert parse_layers("0,2,4,7,9,11", 12, "x") == RELEASED
    assert parse_layers("[0, 2, 4, 7, 9, 11]", 12, "x") == RELEASED
    for text in ("", "0;2", "uniform"):
        with pytest.raises(UserError, match="cannot be read"):
            parse_layers(text, 12, "x")
    with pytest.raises(UserError, match="no layer 12"):
        parse_layers("11,12", 12, "x")
