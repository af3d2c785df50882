import json

import pytest
from tiny_tokenizers import training_lines, write_byte_level, write_sentencepiece, write_wordpiece
from transformers import AutoTokenizer, BertConfig, DistilBertConfig

from cmlm_kd.tokenization.loading import load_tokenizer
from cmlm_kd.tokenization.saving import write_tokenizer

PAIR = ("Zwei Männer hören Musik.", "Two men are listening.")


@pytest.fixture(scope="module")
def lines():
    return training_lines()


def saved(folder, given, config=None):
    """Write a loaded tokenizer anew; returns both, and what is said of the second."""
    tokenizer = load_tokenizer(str(given))
    (folder / "saved").mkdir()
    write_tokenizer(tokenizer, folder / "saved", config)
    settings = json.loads((folder / "saved" / "tokenizer_config.json").read_text(encoding="utf-8"))
    return tokenizer, AutoTokenizer.from_pretrained(folder / "saved"), settings


def test_the_class_is_one_of_both_versions(tmp_path, lines):
    """transformers 4.57 has no TokenizersBackend."""
    before, after, settings = saved(tmp_path, write_wordpiece(tmp_path / "given", lines, lowercase=False))
    assert type(before).__name__ == "TokenizersBackend"
    assert settings["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert after(*PAIR)["input_ids"] == before(*PAIR)["input_ids"]


def test_extra_special_tokens_have_the_name_of_both_versions(tmp_path, lines):
    """transformers 4.57 expects a dictionary of that name."""
    write_sentencepiece(tmp_path / "given", lines)
    before, after, settings = saved(tmp_path, tmp_path / "given")
    assert before.extra_special_tokens and "extra_special_tokens" not in settings
    assert after.extra_special_tokens == before.extra_special_tokens
    assert after(*PAIR)["input_ids"] == before(*PAIR)["input_ids"]


def test_equal_tokenizers_have_equal_bytes_with_and_without_a_network(tmp_path, lines, monkeypatch):
    write_wordpiece(tmp_path / "given", lines, lowercase=False)
    written = []
    for offline in (True, False):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
        (tmp_path / str(offline)).mkdir()
        write_tokenizer(load_tokenizer(str(tmp_path / "given")), tmp_path / str(offline))
        written.append({path.name: path.read_bytes() for path in (tmp_path / str(offline)).iterdir()})
    assert written[0] == written[1]


@pytest.mark.parametrize("first_space", [True, False])
def test_the_first_space_of_a_byte_level_tokenizer_is_written(tmp_path, lines, first_space):
    """transformers 4.57 takes what is not written for False, and changes the tokenizer."""
    given = write_byte_level(tmp_path / "given", lines, add_prefix_space=first_space)
    before, after, settings = saved(tmp_path, given)
    assert settings["add_prefix_space"] is first_space
    assert after(*PAIR)["input_ids"] == before(*PAIR)["input_ids"]


@pytest.mark.parametrize(("config", "gives"), [(BertConfig(), True), (DistilBertConfig(), False)])
def test_token_types_are_given_where_the_model_reads_them(tmp_path, lines, config, gives):
    """By default 4.57 gives them, and 5.23 does not, whatever the model."""
    given = write_wordpiece(tmp_path / "given", lines, lowercase=False)
    _, after, settings = saved(tmp_path, given, config)
    assert ("token_type_ids" in settings["model_input_names"]) is gives
    assert ("token_type_ids" in after(*PAIR)) is gives
    assert not gives or 1 in after(*PAIR)["token_type_ids"]
