"""Every claim of the table of families, on a small model of each."""

from pathlib import Path

import pytest
import torch
from tiny_encoders import EVERY_FAMILY, PIECES, make_config
from transformers import AutoModelForMaskedLM, PreTrainedConfig

from cmlm_kd.api.needs import Request
from cmlm_kd.errors import UserError
from cmlm_kd.models.cmlm_inference import replace_last_layer
from cmlm_kd.models.encoders import families
from cmlm_kd.models.encoders.families import FAMILIES, encoder_layers, family_of, head_of, layers_path
from cmlm_kd.models.encoders.heads import without_output_layer
from cmlm_kd.models.encoders.layers import additive_mask, attention_scores, check_layerwise, embed, run_layer
from cmlm_kd.models.inherit import shallower
from cmlm_kd.models.masked_lm import MaskedLM
from cmlm_kd.tokenization.positions import usable_positions

EXACT = {"atol": 1e-10, "rtol": 1e-8}
every_family = pytest.mark.parametrize("family", FAMILIES)


def make_model(family, attention=None, **settings):
    """A model of three layers, with the attention that transformers chooses, or another."""
    layers = "n_layers" if family == "distilbert" else "num_hidden_layers"
    config = make_config(family, **{layers: 3, **settings})
    torch.manual_seed(0)
    model = AutoModelForMaskedLM.from_config(config, attn_implementation=attention)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
    return model.double().eval()


@pytest.fixture
def batch():
    ids = torch.randint(3, PIECES, (3, 7), generator=torch.Generator().manual_seed(1))  # (B, S)
    mask = torch.ones(3, 7, dtype=torch.long)
    mask[1, 5:] = 0
    mask[2, 2:] = 0
    return {"input_ids": ids.masked_fill(mask == 0, 1), "attention_mask": mask}


def test_the_table_is_complete_and_of_the_installed_transformers():
    pins = Path(__file__).parents[4] / "requirements" / "constraints.txt"
    assert f"transformers=={families.CHECKED_WITH}" in pins.read_text().split()
    assert FAMILIES.keys() == EVERY_FAMILY.keys()
    assert all(row.model_type == name and row.head is not None for name, row in FAMILIES.items())


@every_family
def test_attention_scores_are_read_or_refused_by_name(family, batch):
    model = make_model(family).base_model
    if family_of(model.config).layers.projections is None:
        with (
            pytest.raises(UserError, match=f"a {family} model can't be read; supported are albert, bert"),
            attention_scores(model, [1], batch["attention_mask"]),
        ):
            pass
        return
    eager = make_model(family, "eager").base_model
    expected = eager(**batch, output_attentions=True).attentions
    assert len(expected) == 3
    with attention_scores(model, [1, 2, 3], batch["attention_mask"]) as scores:
        model(**batch)
    for layer, attention in enumerate(expected, start=1):
        torch.testing.assert_close(scores[layer].softmax(-1), attention, **EXACT)


@every_family
def test_layers_run_one_at_a_time_or_are_refused_by_name(family, batch):
    encoder = make_model(family).base_model
    if not family_of(encoder.config).layers.exits:
        with pytest.raises(UserError, match=f"it is a {family} model, which cannot be left between two"):
            check_layerwise(encoder.config, "it")
        return
    check_layerwise(encoder.config, "it")
    states = embed(encoder, batch["input_ids"], torch.zeros_like(batch["input_ids"]))  # (B, S, d)
    for layer in encoder_layers(encoder):
        states = run_layer(layer, states, additive_mask(batch["attention_mask"], states.dtype))
    real = batch["attention_mask"].bool()
    torch.testing.assert_close(states[real], encoder(**batch).last_hidden_state[real], **EXACT)


@every_family
def test_layers_above_those_asked_for_are_passed_over_where_each_stands_alone(family, batch):
    model = MaskedLM(make_model(family))
    masked = torch.tensor([1])
    with torch.no_grad():
        whole = model.model(**batch, output_hidden_states=True).hidden_states
        ran = []
        encoder = model.model.base_model
        last = [module for name, module in encoder.named_modules() if name.endswith(("dense", "lin2", "Wo"))]
        for module in last:
            module.register_forward_hook(lambda *_: ran.append(1))
        encoder(**batch)
        all_of_them = len(ran)
        ran.clear()
        asked = Request((1,), predictions="none")
        states = model.observe(**batch, masked_index=masked, request=asked).hidden_states[1]
    torch.testing.assert_close(states, whole[1], **EXACT)
    stands_alone = family_of(encoder.config).layers.stand_alone
    assert all_of_them > 0 and (len(ran) < all_of_them) == stands_alone


@every_family
def test_the_last_layer_runs_at_the_masked_positions_where_it_is_berts(family, batch):
    encoder = make_model(family).base_model
    masked = torch.tensor([1, 6, 8, 14])  # (M,) over the batch
    with torch.no_grad():
        expected = encoder(**batch).last_hidden_state.flatten(0, 1)[masked]  # (M, d)
        layer = replace_last_layer(encoder)
        assert (layer is not None) == family_of(encoder.config).layers.masked_last
        if layer is not None:
            layer.masked_index = masked
            torch.testing.assert_close(encoder(**batch).last_hidden_state.squeeze(0), expected, **EXACT)


@every_family
def test_layers_are_taken_out_or_refused_by_name(family):
    teacher = make_model(family)
    if not layers_path(teacher.base_model):
        with pytest.raises(UserError, match=f"layers of a {family} model can't be taken out"):
            shallower(teacher, [0])
        return
    student = shallower(teacher, [2])
    (taken,) = encoder_layers(student.base_model)
    kept = encoder_layers(teacher.base_model)[2].state_dict()
    assert len(encoder_layers(teacher.base_model)) == 3
    assert all(torch.equal(value, kept[name]) for name, value in taken.state_dict().items())


@every_family
def test_the_head_is_its_transform_and_one_matrix(family, batch):
    model = make_model(family)
    row = family_of(model.config)
    assert head_of(model) == row.head
    with torch.no_grad():
        expected = model(**batch).logits  # (B, S, V)
        states = row.head.transform(model)(model.base_model(**batch).last_hidden_state)  # (B, S, e)
        with without_output_layer(model) as layer:
            features = model(**batch).logits  # (B, S, d)
        assert layer.asked
        torch.testing.assert_close(features, states, **EXACT)
        logits = torch.nn.functional.linear(features, layer.weight, layer.bias)  # (B, S, V)
    torch.testing.assert_close(logits, expected, **EXACT)
    own = model.get_output_embeddings().weight
    assert (layer.weight.shape != own.shape) == row.head.split_output


@every_family
def test_positions_begin_where_the_tokenizers_room_says(family):
    positions = {} if family == "modernbert" else {"max_position_embeddings": 12}
    model = make_model(family, **positions).base_model
    longest = usable_positions(model.config)

    def read(length):
        return model(torch.full((1, length), 5), torch.ones(1, length, dtype=torch.long))

    assert read(longest).last_hidden_state.shape[:2] == (1, longest)
    if family not in ("deberta", "deberta-v2", "modernbert"):  # which have no table of positions to leave
        with pytest.raises((IndexError, RuntimeError)):
            read(longest + 1)


class UnlistedConfig(PreTrainedConfig):
    model_type = "unlisted"


def test_a_family_that_is_not_listed_promises_nothing():
    row = family_of(UnlistedConfig())
    assert row.layers == families.Layers() and row.head is None
    model = make_model("bert")
    model.config.model_type = "unlisted"
    assert layers_path(model.base_model) == "encoder.layer"
    assert head_of(model) == FAMILIES["bert"].head
    del model.cls
    with pytest.raises(UserError, match="BertForMaskedLM has a masked-LM head of an unknown form"):
        head_of(model)
