"""What a user says of decoding and models, and how a kind of model is found."""

import json

import pytest
from toy_translator import Toy

from cmlm_kd.api.translator import Decoding, ModelChoice
from cmlm_kd.errors import UserError
from cmlm_kd.models.translators.kinds import load_translator, split_model, translator_class


def test_the_greatest_length_grows_with_the_source():
    assert Decoding().most_tokens(10) == 200
    assert Decoding(max_length=5, max_length_ratio=1.5).most_tokens(10) == 20


def test_a_sample_is_a_beam_of_its_own():
    assert Decoding(beam=4, n_best=2).width == 4
    assert Decoding(beam=4, n_best=8, sampling=True).width == 8


def test_one_model_where_there_are_no_ensembles():
    assert ModelChoice(("x",)).path == "x"
    with pytest.raises(UserError, match=r"names 2 models \(x, y\), and only fairseq's make an ensemble"):
        _ = ModelChoice(("x", "y")).path


def test_kinds_by_name():
    assert split_model("toy=a:b") == ("toy", ("a", "b"))
    assert isinstance(load_translator("toy=a", ModelChoice(())), Toy)
    with pytest.raises(UserError, match="no kind of translator is named 'toi'; did you mean 'toy'"):
        translator_class("toi")
    # Kinds that nobody has imported yet are named as well.
    with pytest.raises(UserError, match="'huggingface'; registered are: ctranslate2, encoder_decoder, fairs"):
        translator_class("huggingface")


def test_kinds_by_what_lies_there(tmp_path):
    for name, config in (
        ("marian", {"architectures": ["MarianMTModel"], "is_encoder_decoder": True}),
        ("llama", {"architectures": ["LlamaForCausalLM"]}),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config))
    (tmp_path / "ct2").mkdir()
    (tmp_path / "ct2" / "model.bin").touch()
    kinds = {
        "a.pt": "fairseq",
        "a.pt:b.pt": "fairseq",
        "marian": "encoder_decoder",
        "llama": "language_model",
        "ct2": "ctranslate2",
        "a.gguf": "language_model",
    }
    assert {name: split_model(str(tmp_path / name))[0] for name in kinds} == kinds
    assert split_model("Helsinki-NLP/opus-mt-de-en") == ("encoder_decoder", ("Helsinki-NLP/opus-mt-de-en",))


def test_names_with_the_signs_that_part_a_model_from_its_kind_and_from_another(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("lr=0.1/a.pt", "lr=0.1/b.pt", "12:30/a.pt"):
        place = tmp_path / name
        place.parent.mkdir(exist_ok=True)
        place.touch()
    assert split_model("lr=0.1/a.pt") == ("fairseq", ("lr=0.1/a.pt",))
    assert split_model("lr=0.1/a.pt:lr=0.1/b.pt") == ("fairseq", ("lr=0.1/a.pt", "lr=0.1/b.pt"))
    assert split_model("fairseq=lr=0.1/a.pt") == ("fairseq", ("lr=0.1/a.pt",))
    assert split_model("12:30/a.pt") == ("fairseq", ("12:30/a.pt",))
    assert split_model("fairseq=12:30/a.pt") == ("fairseq", ("12:30/a.pt",))


def test_a_path_that_exists_is_one_model_whatever_its_name(tmp_path):
    for name in ("a:b.pt", "lr=0.1:2.pt"):
        path = tmp_path / name
        path.touch()
        assert split_model(str(path)) == ("fairseq", (str(path),))
        assert split_model(f"fairseq={path}") == ("fairseq", (str(path),))
    assert split_model(f"{tmp_path}/x.pt:{tmp_path}/c.pt")[1] == (f"{tmp_path}/x.pt", f"{tmp_path}/c.pt")


def test_a_model_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"--model .*/none does not exist"):
        split_model(str(tmp_path / "none"))
    (tmp_path / "model.onnx").touch()
    with pytest.raises(UserError, match=r"neither with .pt \(fairseq\) nor with .gguf; say its kind"):
        split_model(str(tmp_path / "model.onnx"))
