"""MobileBERT and IB-BERT: their sizes, their parts, saving and loading, and what a student inherits."""

from dataclasses import replace

import pytest
import torch
from tiny_classification import make_tokenizer
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification, MobileBertForMaskedLM

from cmlm_kd.api.needs import Request
from cmlm_kd.errors import UserError
from cmlm_kd.models.bert import start_classifier
from cmlm_kd.models.bottleneck_bert import (
    IB_BERT,
    MOBILEBERT,
    BottleneckSizes,
    inherit_embeddings_and_head,
    new_ib_bert,
    new_mobilebert,
)
from cmlm_kd.models.classifier import load_classifier
from cmlm_kd.models.masked_lm import MaskedLM
from cmlm_kd.optim import EMBEDDINGS_AND_HEAD, group_by_layer
from cmlm_kd.teachers.masked_lm import load_masked_lm_teacher

PIECES = 25
TINY = BottleneckSizes(
    layers=3,
    hidden_size=16,
    bottleneck_size=8,
    heads=2,
    ffn_size=12,
    feed_forward_networks=2,
    embedding_size=6,
    positions=20,
)
TINY_IB = replace(TINY, bottleneck_size=32, ffn_size=24, feed_forward_networks=1)


def mobilebert(seed=1, **options):
    torch.manual_seed(seed)
    return new_mobilebert(TINY, PIECES, 0, **options).eval()


def ib_bert(seed=2):
    torch.manual_seed(seed)
    return new_ib_bert(TINY_IB, PIECES, 0).eval()


def batch():
    ids = torch.randint(5, PIECES, (2, 7), generator=torch.Generator().manual_seed(1))
    mask = torch.tensor([[1] * 7, [1] * 4 + [0] * 3])
    return {"input_ids": ids * mask, "attention_mask": mask}


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("make", "sizes", "millions"),
    [(new_mobilebert, MOBILEBERT, 25.3), (new_ib_bert, IB_BERT, 293.0)],
)
def test_the_papers_models_have_the_papers_parameters(make, sizes, millions):
    with torch.device("meta"):
        encoder = make(sizes, 30522, 0).base_model
    assert parameters(encoder) / 1e6 == pytest.approx(millions, rel=0.03)


def test_mobilebert_tiny_has_the_papers_parameters():
    with torch.device("meta"):
        sizes = replace(MOBILEBERT, feed_forward_networks=2)
        encoder = new_mobilebert(sizes, 30522, 0, bottleneck_attention=True).base_model
    assert parameters(encoder) / 1e6 == pytest.approx(15.1, rel=0.03)


def test_new_models_have_the_parts_of_the_paper():
    student, teacher = mobilebert().base_model, ib_bert().base_model
    assert type(student.embeddings.LayerNorm).__name__ == "NoNorm"
    assert student.embeddings.embedding_transformation.in_features == 3 * 6  # three neighbours
    block, wide = student.encoder.layer[0], teacher.encoder.layer[0]
    assert (len(block.ffn) + 1, hasattr(wide, "ffn")) == (2, False)
    attention, wide_attention = block.attention.self, wide.attention.self
    assert [attention.query.in_features, attention.value.in_features] == [8, 16]
    assert [wide_attention.query.in_features, wide_attention.value.in_features] == [16, 16]
    assert type(wide.output.LayerNorm) is torch.nn.LayerNorm
    unoptimised = mobilebert(layer_norm=True).base_model
    assert type(unoptimised.encoder.layer[0].output.LayerNorm) is torch.nn.LayerNorm


def test_padding_changes_nothing_of_the_rest():
    rows = batch()
    alone = {name: value[1:, :4] for name, value in rows.items()}
    for model in (mobilebert(), ib_bert()):
        with torch.no_grad():
            torch.testing.assert_close(model(**rows).logits[1, :4], model(**alone).logits[0])


@pytest.mark.parametrize("make", [mobilebert, ib_bert])
def test_predictions_and_what_is_kept_are_transformers_own(make):
    model, rows = make(), batch()
    index = torch.tensor([1, 5, 8])
    wanted = Request(hidden_states=(0, 2, 3), attention_scores=(1, 3))
    with torch.no_grad():
        output = MaskedLM(model).observe(rows["input_ids"], rows["attention_mask"], index, wanted)
        plain = model(**rows, output_hidden_states=True, output_attentions=True)
    torch.testing.assert_close(output.vocabulary_logits(), plain.logits.flatten(0, 1)[index])
    assert set(output.hidden_states) == {0, 2, 3}
    for layer, states in output.hidden_states.items():
        torch.testing.assert_close(states, plain.hidden_states[layer])
    for layer, scores in output.attention_scores.items():
        torch.testing.assert_close(scores.softmax(-1), plain.attentions[layer - 1])


@pytest.mark.parametrize("make", [mobilebert, ib_bert])
def test_layers_above_those_asked_for_do_not_run(make):
    model, rows = make(), batch()
    ran = []
    for layer in model.base_model.encoder.layer:
        layer.intermediate.register_forward_hook(lambda module, *_: ran.append(module))
    wanted = Request(hidden_states=(2,), attention_scores=(1,), predictions="none")
    with torch.no_grad():
        output = MaskedLM(model).observe(rows["input_ids"], rows["attention_mask"], torch.tensor([1]), wanted)
        assert ran == [layer.intermediate for layer in model.base_model.encoder.layer[:2]]
        plain = model(**rows, output_hidden_states=True)
    torch.testing.assert_close(output.hidden_states[2], plain.hidden_states[2])
    assert len(ran) == 2 + 3


def test_a_saved_teacher_is_loaded_by_its_type(tmp_path):
    teacher = ib_bert()
    teacher.save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    loaded = AutoModelForMaskedLM.from_pretrained(tmp_path)
    assert type(loaded) is type(teacher)
    with torch.no_grad():
        torch.testing.assert_close(loaded.eval()(**batch()).logits, teacher(**batch()).logits)
    description = load_masked_lm_teacher(str(tmp_path)).description
    assert (description.layers, description.hidden_size, description.heads) == (3, 16, 2)
    assert {"logits", "hidden states", "attention scores"} <= description.provides
    rebuilt = MaskedLM.from_config(teacher.config.to_dict())
    assert rebuilt.state_dict().keys() == MaskedLM(teacher).state_dict().keys()


def test_a_saved_student_is_transformers_own(tmp_path):
    student = mobilebert()
    student.save_pretrained(tmp_path)
    loaded, report = MobileBertForMaskedLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    with torch.no_grad():
        torch.testing.assert_close(loaded.eval()(**batch()).logits, student(**batch()).logits)


@pytest.mark.parametrize("make", [mobilebert, ib_bert])
def test_both_become_classifiers(make, tmp_path):
    model = make()
    model.save_pretrained(tmp_path / "pretrained")
    make_tokenizer().save_pretrained(tmp_path / "pretrained")
    classifier = start_classifier(str(tmp_path / "pretrained"), ("no", "yes"), max_length=20).eval()
    for name, value in model.base_model.state_dict().items():
        torch.testing.assert_close(classifier.model.base_model.state_dict()[name], value)
    classifier.model.save_pretrained(tmp_path / "classifier")
    make_tokenizer().save_pretrained(tmp_path / "classifier")
    again = load_classifier(str(tmp_path / "classifier"))
    rows = {**batch(), "token_type_ids": torch.zeros(2, 7, dtype=torch.long)}
    with torch.no_grad():
        expected = AutoModelForSequenceClassification.from_pretrained(tmp_path / "classifier").eval()(**rows)
        for found in (classifier(**rows), again(**rows)):
            torch.testing.assert_close(found.logits, expected.logits)


def test_a_student_inherits_embeddings_and_head_and_no_more():
    student, teacher = mobilebert(), ib_bert()
    before = {name: value.clone() for name, value in student.state_dict().items()}
    copied = inherit_embeddings_and_head(student, teacher)
    same = {
        name
        for name, value in student.state_dict().items()
        if name in teacher.state_dict() and torch.equal(value, teacher.state_dict()[name])
    }
    assert copied > 8
    assert {
        "mobilebert.embeddings.word_embeddings.weight",
        "mobilebert.embeddings.embedding_transformation.weight",
        "mobilebert.embeddings.position_embeddings.weight",
        "cls.predictions.dense.weight",
        "cls.predictions.transform.dense.weight",
        "cls.predictions.bias",
    } <= same
    for name, value in student.state_dict().items():
        if ".encoder." in name or "embeddings.LayerNorm" in name:
            assert torch.equal(value, before[name]), name


def test_a_normalisation_of_the_same_kind_is_inherited():
    teacher = ib_bert()
    with torch.no_grad():
        teacher.base_model.embeddings.LayerNorm.weight.fill_(2.0)
    for student, expected in ((mobilebert(layer_norm=True), 2.0), (mobilebert(), 1.0)):
        inherit_embeddings_and_head(student, teacher)
        assert (student.base_model.embeddings.LayerNorm.weight == expected).all()


def test_nothing_is_inherited_of_other_shapes():
    wider = new_ib_bert(replace(TINY_IB, embedding_size=7, hidden_size=24), PIECES + 1, 0)
    student = mobilebert()
    before = {name: value.clone() for name, value in student.state_dict().items()}
    assert inherit_embeddings_and_head(student, wider) == 0
    for name, value in student.state_dict().items():
        assert torch.equal(value, before[name])


def test_parameters_know_their_layer():
    student = mobilebert()
    names = group_by_layer(student)
    assert set(names) == {"layer 1", "layer 2", "layer 3", EMBEDDINGS_AND_HEAD}
    assert student.base_model.encoder.layer[1].output.dense.weight.param_group == "layer 2"
    assert student.base_model.embeddings.word_embeddings.weight.param_group == EMBEDDINGS_AND_HEAD
    assert student.cls.predictions.dense.weight.param_group == EMBEDDINGS_AND_HEAD


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"layers": 0}, "--layers is 0, it must be from 1 to 65,536"),
        ({"heads": 3}, "--bottleneck-size 8 is no multiple of --heads 3"),
        ({"embedding_size": 17}, "--embedding-size 17 exceeds --hidden-size 16"),
        ({"feed_forward_networks": 0}, "--feed-forward-networks is 0"),
    ],
)
def test_impossible_sizes_are_named(sizes, message):
    for make, owner in ((new_mobilebert, "mobilebert"), (new_ib_bert, "ib_bert")):
        with pytest.raises(UserError, match=f"{owner}: {message}"):
            make(replace(TINY, **sizes), PIECES, 0)
