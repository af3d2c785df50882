"""Encoder-decoders of Hugging Face: tiny ones of each family, against transformers itself."""

import json
import shutil

import pytest
import torch
from tiny_translators import (
    WITH_CODES,
    write_bart,
    write_language_model,
    write_marian,
    write_t5,
)

from cmlm_kd.api.translator import Decoding, ModelChoice
from cmlm_kd.errors import UserError
from cmlm_kd.models.translators.kinds import load_translator
from cmlm_kd.models.translators.loading import load_seq2seq
from cmlm_kd.tokenization.spelled_bytes import bytes_of_tokenizer

TEXTS = ["der mann geht", "ein hund", "ein hund sieht den mann und der mann geht"]
FAMILIES = {"marian": (write_marian, None, None), **WITH_CODES, "t5": (write_t5, "German", "English")}


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """Return where the model of a family is, written once."""
    root = tmp_path_factory.mktemp("families")

    def write(family):
        place = root / family
        return place if place.exists() else FAMILIES[family][0](place)

    return write


@pytest.fixture
def load(directory):
    def load(family):
        _, source, target = FAMILIES[family]
        choice = ModelChoice((), source_language=source, target_language=target)
        return load_translator(str(directory(family)), choice)

    return load


def greedy(translator, source):
    """Return the text of at most six tokens, and the mean of the log-probabilities of them and their end."""
    model, loaded = translator.model, translator.loaded
    ids = torch.tensor([source.tokens])
    forced = [] if loaded.forced_first is None else [loaded.forced_first]
    said = [loaded.decoder_start, *forced]
    total, count = 0.0, 0
    with torch.no_grad():
        while count < 7:
            logits = model(input_ids=ids, decoder_input_ids=torch.tensor([said])).logits[0, -1]
            each = logits.log_softmax(-1)
            choice = int(each.argmax()) if count < 6 else int(translator.tokenizer.eos_token_id)
            total, count = total + float(each[choice]), count + 1
            if choice == translator.tokenizer.eos_token_id:
                break
            said.append(choice)
    return translator.tokenizer.decode(said[1 + len(forced) :], skip_special_tokens=True), total / count


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_search_is_the_most_probable_token_at_each_step(load, family):
    translator = load(family)
    sources = translator.encode(TEXTS)
    found = translator.translate(sources, Decoding(beam=1, max_length=6))
    for source, row in zip(sources, found, strict=True):
        text, score = greedy(translator, source)
        assert row[0].text == text
        assert row[0].score == pytest.approx(score, abs=1e-4)


def test_scores_of_a_beam_are_those_of_transformers(load):
    translator = load("marian")
    translator.model.final_logits_bias[0, translator.tokenizer.eos_token_id] = 3.0  # so that it finds an end
    for source in translator.encode(TEXTS):
        row = translator.translate([source], Decoding(beam=4, n_best=3, length_penalty=0.7))[0]
        wanted = translator.model.generate(
            input_ids=torch.tensor([source.tokens]), num_beams=4, num_return_sequences=3, max_new_tokens=30,
            early_stopping=False, output_scores=True, return_dict_in_generate=True, length_penalty=0.7,
        )  # fmt: skip
        said = translator.tokenizer.batch_decode(wanted.sequences, skip_special_tokens=True)
        assert all(entry.finished for entry in row)
        assert [entry.text for entry in row] == said
        assert [entry.score for entry in row] == pytest.approx(wanted.sequences_scores.tolist(), abs=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_says_what_each_sentence_says_alone(load, family):
    translator = load(family)
    sources = translator.encode(TEXTS)
    decoding = Decoding(beam=2, n_best=2, max_length=8)
    together = translator.translate(sources, decoding)
    for source, row in zip(sources, together, strict=True):
        alone = translator.translate([source], decoding)[0]
        assert [entry.text for entry in alone] == [entry.text for entry in row]
        assert [entry.score for entry in alone] == pytest.approx([entry.score for entry in row], abs=1e-4)


def test_samples_repeat_with_their_seed_and_have_scores(load):
    translator = load("marian")
    sources = translator.encode(TEXTS)

    def draw(seed, **more):
        return translator.translate(
            sources, Decoding(sampling=True, n_best=4, max_length=6, seed=seed, **more)
        )

    assert draw(1) == draw(1) != draw(2)
    assert len(draw(1)[0]) == 4
    likely = draw(1, top_k=1)[0]  # greedy
    assert {entry.text for entry in likely} == {
        translator.translate(sources, Decoding(beam=1, max_length=6))[0][0].text
    }
    translator.model.final_logits_bias[0, translator.tokenizer.eos_token_id] = 9.0
    nearly = draw(1, temperature=0.001)[0][0]
    assert nearly.score == pytest.approx(0, abs=1e-3)  # of the distribution that it was drawn from


def test_what_each_family_reads(load):
    tokens = {name: load(name).encode(["der"])[0].tokens for name in FAMILIES}
    spelled = {name: load(name).tokenizer.convert_ids_to_tokens(ids) for name, ids in tokens.items()}
    assert spelled["m2m100"][0] == "__de__" and spelled["nllb"][0] == "deu_Latn"
    assert spelled["mbart50"][0] == "de_DE" == spelled["mbart"][-1] and spelled["marian"][-1] == "</s>"
    assert load("t5").loaded.source_prefix == "translate German to English: "
    assert load("marian").most_source_tokens == 40 and load("t5").most_source_tokens is None
    assert load("m2m100").languages == ("de", "en") == load("marian").languages


def test_a_temperature_of_the_search_is_refused(load):
    translator = load("marian")
    with pytest.raises(UserError, match=r"--temperature is 0\.5, and transformers has one for drawing alone"):
        translator.translate(translator.encode(["der mann geht"]), Decoding(temperature=0.5))


def test_what_a_bart_is_made_to_say_first(tmp_path):
    translator = load_translator(str(write_bart(tmp_path / "bart")), ModelChoice(()))
    assert (translator.loaded.decoder_start, translator.loaded.forced_first) == (2, 0)
    for source in translator.encode(TEXTS):
        wanted = translator.model.generate(torch.tensor([source.tokens]), num_beams=1, max_new_tokens=8)[0]
        assert wanted[:2].tolist() == [2, 0]
        row = translator.translate([source], Decoding(beam=1, max_length=6))[0]
        assert row[0].text == translator.tokenizer.decode(wanted, skip_special_tokens=True)


def test_a_vocabulary_for_each_language(tmp_path):
    """transformers knows both; CTranslate2's converter would take the source's for the target's, too."""
    pytest.importorskip("ctranslate2")
    model = str(write_marian(tmp_path / "two", separate=True))
    translator = load_translator(model, ModelChoice(()))
    source = translator.encode(["der mann"])[0]
    row = translator.translate([source], Decoding(beam=1, max_length=6))[0]
    text, score = greedy(translator, source)
    assert row[0].text == text and row[0].score == pytest.approx(score, abs=1e-4)
    spelled = bytes_of_tokenizer(translator.tokenizer, {0})
    assert (
        spelled[-1] == b" y" and spelled[translator.tokenizer(text_target="man")["input_ids"][0]] == b" man"
    )
    with pytest.raises(UserError, match="two has a vocabulary for each language, of which CTranslate2's"):
        load_translator(model, ModelChoice(()), via="ctranslate2")


def test_special_tokens_that_are_spelled_out_are_text(load):
    for family, text in (("marian", "der </s> mann"), ("m2m100", "<s>"), ("nllb", "der eng_Latn </s> mann")):
        translator = load(family)
        odd = translator.encode([text])[0].tokens
        inner = translator.tokenizer.convert_ids_to_tokens(odd)[1:-1]
        assert not {"<s>", "</s>", "eng_Latn"} & set(inner), inner


def test_a_multilingual_marian_reads_the_target_code(tmp_path):
    model = str(write_marian(tmp_path / "opus", codes=("fra", "spa")))
    loaded = load_seq2seq(model, target_language="spa")
    assert loaded.source_prefix == ">>spa<< "
    choice = ModelChoice((), target_language="spa")
    first = load_translator(model, choice).encode(["der"])[0].tokens[0]
    assert first == json.loads((tmp_path / "opus" / "vocab.json").read_text())[">>spa<<"]
    for code, said in ((None, "is missing"), ("de", "is 'de'")):
        with pytest.raises(UserError, match=rf"--target-language {said}: .* give one of fra, spa"):
            load_seq2seq(model, target_language=code)


def test_hashes_tell_models_and_languages_apart(directory, tmp_path):
    model = str(directory("m2m100"))
    first = load_seq2seq(model, "de", "en")
    assert load_seq2seq(model, "de", "en").hash == first.hash != load_seq2seq(model, "de", "fr").hash


@pytest.mark.parametrize(
    ("family", "languages", "message"),
    [
        (
            "m2m100",
            ("de", "xx"),
            r"--target-language is 'xx', which model .* does not know; its codes are af, am",
        ),
        ("nllb", ("de", "eng_Latn"), r"--source-language is 'de', which .* its codes are deu_Latn, "),
        (
            "mbart50",
            (None, "en_XX"),
            r"knows several languages; say with --source-language which, by its code",
        ),
        ("t5", ("German", None), r"give both --source-language and --target-language, or none"),
        (
            "marian",
            ("en", "de"),
            r"--source-language is 'en', and model .* translates de to en; give a model of",
        ),
    ],
)
def test_languages_that_a_model_does_not_translate(directory, family, languages, message):
    with pytest.raises(UserError, match=message):
        load_seq2seq(str(directory(family)), *languages)


def test_a_model_without_a_tokenizer(directory, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(directory("marian") / name, bare)
    with pytest.raises(UserError, match=r"model .*bare has no tokenizer"):
        load_seq2seq(str(bare))


def test_a_model_that_holds_nan(directory, tmp_path):
    from transformers import MarianMTModel

    spoiled = shutil.copytree(directory("marian"), tmp_path / "nan")
    model = MarianMTModel.from_pretrained(spoiled)
    model.model.decoder.layers[0].fc1.weight.data[0, 0] = float("nan")
    model.save_pretrained(spoiled)
    with pytest.raises(UserError, match=r"decoder.layers.0.fc1.weight has numbers that are not finite"):
        load_seq2seq(str(spoiled))


def test_missing_weights_and_other_models(directory, tmp_path):
    from safetensors.torch import load_file, save_file

    halved = shutil.copytree(directory("marian"), tmp_path / "halved")
    weights = load_file(halved / "model.safetensors")
    save_file(
        {k: v for k, v in weights.items() if "encoder.layers" not in k},
        halved / "model.safetensors",
        {"format": "pt"},
    )
    with pytest.raises(UserError, match="has no weights for 16 tensors"):
        load_seq2seq(str(halved))
    with pytest.raises(UserError, match="cannot load an encoder-decoder from"):
        load_seq2seq(str(write_language_model(tmp_path / "lm")))


@pytest.mark.parametrize("family", ["marian", "nllb"])
def test_by_way_of_ctranslate2(directory, load, family):
    pytest.importorskip("ctranslate2")
    _, source, target = FAMILIES[family]
    choice = ModelChoice((), source_language=source, target_language=target)
    converted = load_translator(str(directory(family)), choice, via="ctranslate2")
    direct = load(family)
    decoding = Decoding(beam=2, max_length=6)
    found = converted.translate(converted.encode(TEXTS[:2]), decoding)
    wanted = direct.translate(direct.encode(TEXTS[:2]), decoding)
    assert [row[0].text for row in found] == [row[0].text for row in wanted]
    assert [row[0].finished for row in found] == [row[0].finished for row in wanted]


def test_a_name_that_is_neither_here_nor_on_the_hub(tmp_path, monkeypatch):
    def unreachable(*_, **__):
        raise OSError("We couldn't connect to the hub")

    monkeypatch.setattr("cmlm_kd.models.translators.loading.load_saved", unreachable)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UserError, match=r"model nosuch: there is no such directory here, and as a name of the hub"
    ):
        load_translator("nosuch", ModelChoice(()))
