"""Directories of CTranslate2, with the tokenizer beside them or in a data-bin."""

import shutil

import pytest
from tiny_translators import write_marian, write_nllb

from cmlm_kd.api.translator import Decoding, ModelChoice
from cmlm_kd.errors import UserError
from cmlm_kd.models.translators.kinds import load_translator

pytest.importorskip("ctranslate2")

TEXTS = ["der mann geht", "ein hund"]


@pytest.fixture(scope="module")
def directories(tmp_path_factory):
    """A Marian model as transformers has it, and as CTranslate2 has it, without a tokenizer."""
    root = tmp_path_factory.mktemp("ct2")
    write_marian(root / "marian")
    load_translator(str(root / "marian"), ModelChoice(())).to_ctranslate2(root / "ct2", "float32")
    return root / "marian", root / "ct2"


def test_a_directory_with_its_tokenizer(directories, tmp_path):
    marian, bare = directories
    whole = shutil.copytree(bare, tmp_path / "whole")
    for name in ("source.spm", "target.spm", "vocab.json", "tokenizer_config.json"):
        shutil.copy(marian / name, whole)
    translator = load_translator(str(whole), ModelChoice(()))
    direct = load_translator(str(marian), ModelChoice(()))
    decoding = Decoding(beam=2, max_length=6)
    found = translator.translate(translator.encode(TEXTS), decoding)
    wanted = direct.translate(direct.encode(TEXTS), decoding)
    assert [row[0].text for row in found] == [row[0].text for row in wanted]
    assert translator.description.startswith("CTranslate2 ")


@pytest.mark.parametrize("decoding", [{"beam": 1}, {"beam": 4, "n_best": 4, "length_penalty": 0.5}])
def test_the_code_of_a_language_is_no_part_of_length_and_score(tmp_path, monkeypatch, decoding):
    choice = ModelChoice((), source_language="deu_Latn", target_language="eng_Latn")
    directory = str(write_nllb(tmp_path / "nllb"))
    translator = load_translator(directory, choice, via="ctranslate2")
    monkeypatch.setattr(translator.words, "decode", " ".join)
    how = Decoding(max_length=5, **decoding)
    sources = translator.encode(TEXTS)
    for source, row in zip(sources, translator.translate(sources, how), strict=True):
        assert [one.score for one in row] == sorted((one.score for one in row), reverse=True)
        for text, score, finished in row:
            said = text.split()
            scored = translator.engine.score_batch([list(source.tokens)], [["eng_Latn", *said]])[0]
            counted = len(said) + finished  # the end
            assert finished or counted == 5
            total = sum(scored.log_probs[1 : 1 + counted])
            assert score == pytest.approx(total / counted**how.length_penalty, abs=1e-4)


def test_a_directory_without_a_tokenizer(directories):
    with pytest.raises(UserError, match=r"has no tokenizer beside its vocabulary; name the data-bin"):
        load_translator(str(directories[1]), ModelChoice(()))
    with pytest.raises(UserError, match=r"--data nowhere has no tokenizer \(the folder 'teacher'\)"):
        load_translator(str(directories[1]), ModelChoice((), data=__import__("pathlib").Path("nowhere")))


def test_what_is_no_directory(tmp_path):
    with pytest.raises(UserError, match="none is no directory; give what a converter wrote"):
        load_translator(f"ctranslate2={tmp_path / 'none'}", ModelChoice((), data=tmp_path))


def test_a_damaged_directory(directories, tmp_path):
    damaged = shutil.copytree(directories[0], tmp_path / "damaged")
    (damaged / "model.bin").write_bytes(b"x")
    with pytest.raises(UserError, match=r"CTranslate2 cannot load .*; give a directory that one of its"):
        load_translator(f"ctranslate2={damaged}", ModelChoice(()))


def test_quantised_weights_are_other_translators(directories):
    marian = str(directories[0])
    hashes = {
        load_translator(marian, ModelChoice((), quantize=kind), via="ctranslate2").hash
        for kind in (None, "float32", "int8")
    }
    assert len(hashes) == 2
