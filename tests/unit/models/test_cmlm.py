"""The C-MLM teacher: what it starts from, and what it predicts."""

import copy
import json

import numpy as np
import pytest
import torch
from tiny_encoders import FAMILIES, PIECES, make_config, write_encoder
from tiny_pairs import SPECIAL, TARGET_IDS, make_batch
from torch import nn
from transformers import AutoConfig, ElectraForPreTraining

from cmlm_kd.data.translation.vocabulary import NO_TEACHER_ID
from cmlm_kd.errors import UserError
from cmlm_kd.models.cmlm import ConditionalMaskedLM
from cmlm_kd.models.cmlm_inference import MaskedPredictor


def hugging_face_logits(model, batch):
    """Return logits ``(M, pieces)`` without the output layer's bias, the model's own way."""
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    if getattr(model.config, "type_vocab_size", 0) > 1:
        inputs["token_type_ids"] = batch.token_type_ids
    logits = model(**inputs).logits - model.get_output_embeddings().bias
    return logits.flatten(0, 1)[batch.masked_index]


# What it starts from


@pytest.mark.parametrize("family", FAMILIES)
def test_with_a_head_it_starts_as_the_masked_lm_it_comes_from(family, tmp_path):
    model = write_encoder(tmp_path, family)
    teacher = ConditionalMaskedLM.from_pretrained(str(tmp_path), TARGET_IDS).eval()
    batch = make_batch()
    assert teacher.transform is not None
    with torch.no_grad():
        found, wanted = teacher(batch), hugging_face_logits(model, batch)
    pieces = np.where(TARGET_IDS == NO_TEACHER_ID, SPECIAL.unk, TARGET_IDS)
    torch.testing.assert_close(found, wanted[:, torch.from_numpy(pieces).long()], rtol=1e-5, atol=1e-5)
    assert found.abs().max() > 0.3  # so the comparison was of something


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in ("electra", "albert")])
def test_without_a_head_it_starts_from_the_encoder(family, tmp_path):
    model = write_encoder(tmp_path, family, head=False)
    teacher = ConditionalMaskedLM.from_pretrained(str(tmp_path), TARGET_IDS).eval()
    batch = make_batch()
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    if teacher.has_token_types:
        inputs["token_type_ids"] = batch.token_type_ids
    with torch.no_grad():
        states = model(**inputs).last_hidden_state.flatten(0, 1)[batch.masked_index]
        wanted = (
            states @ model.get_input_embeddings().weight[torch.from_numpy(np.maximum(TARGET_IDS, 0)).long()].T
        )
        found = teacher(batch)
    known = torch.from_numpy(TARGET_IDS != NO_TEACHER_ID)
    assert teacher.transform is None
    torch.testing.assert_close(found[:, known], wanted[:, known], rtol=1e-5, atol=1e-5)


def test_entries_start_from_the_word_embeddings(tmp_path):
    embeddings = write_encoder(tmp_path).get_input_embeddings().weight
    teacher = ConditionalMaskedLM.from_pretrained(str(tmp_path), TARGET_IDS)
    weight = teacher.projection.weight
    assert torch.equal(weight[4], weight[6]) and torch.equal(weight[4], embeddings[7])
    assert torch.equal(weight[7], embeddings[30]) and torch.equal(weight[2], embeddings[SPECIAL.sep])
    assert torch.equal(weight[9], embeddings[SPECIAL.unk]) and torch.equal(weight[10], weight[3])
    assert not teacher.projection.bias.any()
    with torch.no_grad():
        weight.zero_()  # a layer of its own: the input embeddings stay
    assert teacher.encoder.get_input_embeddings().weight.abs().min(dim=1).values.any()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_learns(family, tmp_path):
    """Otherwise DistributedDataParallel waits for gradients that never come."""
    write_encoder(tmp_path, family)
    teacher = ConditionalMaskedLM.from_pretrained(str(tmp_path), TARGET_IDS)
    batch = make_batch()
    nn.functional.cross_entropy(teacher(batch), batch.labels).backward()
    assert [name for name, parameter in teacher.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize(
    ("family", "reads"), [("bert", True), ("electra", True), ("roberta", False), ("distilbert", False)]
)
def test_token_types_where_the_model_has_them(family, reads, tmp_path):
    write_encoder(tmp_path, family)
    teacher = ConditionalMaskedLM.from_pretrained(str(tmp_path), TARGET_IDS).eval()
    batch = make_batch()
    with torch.no_grad():
        typed = teacher(batch)
        batch.token_type_ids.zero_()
        assert torch.equal(typed, teacher(batch)) != reads


def test_dropout_is_set_everywhere(tmp_path):
    for family in ("bert", "distilbert", "modernbert"):
        write_encoder(tmp_path / family, family)
        teacher = ConditionalMaskedLM.from_pretrained(str(tmp_path / family), TARGET_IDS)
        teacher.set_dropout(0.0)
        batch = make_batch()
        training, evaluating = teacher.train()(batch), teacher.eval()(batch)
        torch.testing.assert_close(training, evaluating)
        teacher.set_dropout(0.5)
        assert not torch.allclose(teacher.train()(batch), evaluating, atol=1e-2)


# What cannot be a teacher


def refusal(directory, target_ids=TARGET_IDS):
    with pytest.raises(UserError) as error:
        ConditionalMaskedLM.from_pretrained(str(directory), target_ids)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_discriminator_has_no_masked_lm_head(tmp_path):
    for embedding_size in (16, 8):
        config = make_config("electra", embedding_size=embedding_size)
        ElectraForPreTraining(config).save_pretrained(tmp_path / str(embedding_size))
    assert ConditionalMaskedLM.from_pretrained(str(tmp_path / "16"), TARGET_IDS).transform is None
    message = refusal(tmp_path / "8")
    assert "size 8" in message and "size 16" in message


def test_models_that_are_no_encoders(tmp_path):
    for model_type in ("gpt2", "t5", "bart"):
        AutoConfig.for_model(model_type).save_pretrained(tmp_path / model_type)
        assert f"a {model_type} model, not a bidirectional encoder" in refusal(tmp_path / model_type)


def test_weights_that_do_not_belong_to_the_configuration(tmp_path):
    write_encoder(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    assert "no weights for 16 tensors of its encoder, such as bert.encoder.layer.2" in refusal(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**config, "hidden_size": 32}))
    assert "cannot load a masked language model" in refusal(tmp_path)


def test_files_that_are_missing_or_damaged(tmp_path):
    assert "cannot load a masked language model from" in refusal(tmp_path)
    write_encoder(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x00" * 100)
    assert "cannot load a masked language model from" in refusal(tmp_path)


def test_data_that_use_more_pieces_than_the_teacher_has(tmp_path):
    write_encoder(tmp_path)
    assert f"{PIECES} tokens, the data use token 40" in refusal(tmp_path, np.append(TARGET_IDS, np.int32(40)))


# Inference


@pytest.mark.parametrize("head", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_predictor_predicts_what_the_teacher_does(family, head, tmp_path):
    write_encoder(
        tmp_path, family, head=head, **({"embedding_size": 16} if family in ("electra", "albert") else {})
    )
    teacher = ConditionalMaskedLM.from_pretrained(str(tmp_path), TARGET_IDS).eval()
    before = copy.deepcopy(teacher.state_dict())
    predictor = MaskedPredictor(teacher, torch.device("cpu"))
    for seed in range(3):
        batch = make_batch(seed, rows=seed + 1)
        with torch.no_grad():
            torch.testing.assert_close(predictor.logits(batch), teacher(batch), rtol=1e-5, atol=1e-5)
    assert (predictor.layers is not None) == (
        family in ("bert", "roberta", "xlm-roberta", "camembert", "electra")
    )
    after = teacher.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("family", ["bert", "distilbert", "albert"])
def test_autocast_with_converted_matrices_is_plain_autocast(family, tmp_path):
    write_encoder(tmp_path, family)
    teacher = ConditionalMaskedLM.from_pretrained(str(tmp_path), TARGET_IDS).eval()
    predictor = MaskedPredictor(teacher, torch.device("cpu"), bf16_autocast=True)
    batch = make_batch()
    with torch.no_grad():
        exact = teacher(batch)
        with torch.autocast("cpu", torch.bfloat16):
            plain = teacher(batch)
    found = predictor.logits(batch)
    assert found.dtype == torch.float32 and plain.dtype == torch.bfloat16
    torch.testing.assert_close(found, plain.float(), rtol=2**-7, atol=2**-7 * exact.abs().max())
    assert 0 < (found - exact).abs().max() < 0.1 * exact.abs().max()
