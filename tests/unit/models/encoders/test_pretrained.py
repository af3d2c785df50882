"""What is loaded by a configuration, and configurations of a size that nothing has, as damaged files have."""

import json

import pytest
from tiny_classification import write_bert
from tiny_encoders import write_encoder
from tiny_store import flip_bit
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    LlamaConfig,
)

from cmlm_kd.errors import UserError
from cmlm_kd.models.classifier import load_classifier
from cmlm_kd.models.encoders import pretrained
from cmlm_kd.models.encoders.pretrained import (
    config_of,
    load_encoder_and_transform,
    load_masked_lm,
    load_pretrained,
)
from cmlm_kd.models.exported import ExportRecord


@pytest.mark.parametrize("description", [{}, [], None, {"model_type": "nobodys"}, {"model_type": 5}])
def test_types_that_nobody_knows(description):
    with pytest.raises(UserError, match=r"the checkpoint describes a model of type .*, which transformers"):
        config_of(description)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("num_hidden_layers", 10**9),
        ("hidden_size", 10**12),
        ("vocab_size", 10**10),
        ("num_hidden_layers", -1),
    ],
)
def test_sizes_of_a_damaged_configuration(tmp_path, setting, value):
    folder = write_bert(tmp_path / "bert")
    document = {**json.loads((folder / "config.json").read_text()), setting: value}
    (folder / "config.json").write_text(json.dumps(document))
    message = f"config.json has {setting} {value}; it must be from 0 to .*; is the file damaged"
    for load in (
        lambda: load_pretrained(AutoModelForSequenceClassification, str(folder)),
        lambda: load_masked_lm(str(folder)),
        lambda: config_of(document),
    ):
        with pytest.raises(UserError, match=message):
            load()


@pytest.mark.parametrize("load", [load_classifier, load_encoder_and_transform])
def test_an_exported_directory_that_has_changed(tmp_path, load):
    """As a teacher or a start it would teach something else for days."""
    folder = write_bert(tmp_path / "bert", layers=1)
    known = {"version": "0", "architecture": "bert_classifier", "quantization": "float32", "model_hash": ""}
    ExportRecord(
        "cmlm-kd export", target="huggingface", task="classification", most_source_tokens=0,
        most_target_tokens=0, **known,
    ).write(folder)  # fmt: skip
    load(str(folder))
    flip_bit(folder / "model.safetensors", -5)
    with pytest.raises(
        UserError, match=r"model\.safetensors is damaged \(checksum .*; export the checkpoint"
    ):
        load(str(folder))


@pytest.mark.parametrize("sine_waves", [True, False])
def test_positions_that_are_sine_waves_are_not_trained(tmp_path, sine_waves):
    """transformers 5.23 trains them; what is learnt would be lost where they are made anew by the formula."""
    write_encoder(tmp_path, "distilbert", sinusoidal_pos_embds=sine_waves)
    model, _ = load_masked_lm(str(tmp_path))
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert ("distilbert.embeddings.position_embeddings.weight" in trained) == (not sine_waves)
    assert "distilbert.embeddings.word_embeddings.weight" in trained


def test_a_file_of_another_format_has_its_configuration_inside(monkeypatch):
    """Beside a ``.gguf`` file there need be no config.json."""
    asked = []

    def load(kind, name, **settings):
        asked.append((kind.__name__, name, settings.get("gguf_file")))
        if kind is AutoConfig:
            return LlamaConfig()
        raise UserError("asked for enough")

    monkeypatch.setattr(pretrained, "load_saved", load)
    with pytest.raises(UserError, match="asked for enough"):
        pretrained.load_pretrained(AutoModelForCausalLM, "folder", "a language model", gguf_file="x.gguf")
    assert asked == [("AutoConfig", "folder", "x.gguf"), ("AutoModelForCausalLM", "folder", "x.gguf")]
