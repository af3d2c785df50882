"""A language model translates by its prompt."""

import pytest
import torch
from tiny_translators import write_language_model

from cmlm_kd.api.translator import Decoding, ModelChoice
from cmlm_kd.errors import UserError
from cmlm_kd.models.translators.kinds import load_translator
from cmlm_kd.models.translators.language_model import PROMPT, Prompt
from cmlm_kd.models.translators.loading import last_logits

PAIRS = [("ein hund", "a dog"), ("{target}", "{source}")]
TEXTS = ["der mann geht", "ein hund sieht den mann"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return write_language_model(tmp_path_factory.mktemp("lm") / "model")


@pytest.fixture(scope="module")
def translator(directory):
    return load_translator(
        str(directory), ModelChoice((), source_language="German", target_language="English")
    )


def test_the_prompt_of_a_sentence():
    prompt = Prompt(PROMPT, [], ("German", "English"))
    assert prompt("der mann") == "German: der mann\nEnglish:"
    shown = Prompt(PROMPT, PAIRS, ("German", "English"))
    assert (
        shown("x")
        == "German: ein hund\nEnglish: a dog\n\nGerman: {target}\nEnglish: {source}\n\nGerman: x\nEnglish:"
    )


def test_templates_of_the_user():
    assert Prompt(r"{source} =>\n{target}", [], ("a", "b"))("x") == "x =>\n"
    assert Prompt("Translate {source}: ", [("a", "b")], ("", ""))("{x}") == "Translate a: b\n\nTranslate {x}:"
    with pytest.raises(
        UserError, match=r"--prompt 'Translate: ' has no place for the source; write \{source\}"
    ):
        Prompt("Translate: ", [], ("", ""))
    for template in ("{source} {target} thanks", "{target} is {source}"):
        with pytest.raises(UserError, match=r"\{target\} must be its end, for there the model goes on"):
            Prompt(template, [], ("", ""))
    assert Prompt(r'{"de": "{source}", {} {a b}: ', [], ("", ""))("x") == '{"de": "x", {} {a b}:'


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            "{src}: {source}",
            r"a place \{src\} that is not known; allowed are \{source\}, \{target\}, \{source_l",
        ),
        ("{source} {target_lang}: {target}", r"a place \{target_lang\} that is not known"),
        ("{source_language}: {source}", r"names the source language; say what it is with --source-language"),
        ("{source} {target_language}: ", r"names the target language; say what it is with --target-language"),
    ],
)
def test_places_that_would_stay_empty_or_as_they_are(directory, template, message):
    with pytest.raises(UserError, match=message):
        load_translator(str(directory), ModelChoice((), prompt=template))


def test_greedy_search_goes_on_where_the_prompt_ends(translator):
    sources = translator.encode(TEXTS)
    found = translator.translate(sources, Decoding(beam=1, max_length=8))
    for source, row in zip(sources, found, strict=True):
        said, total, count = [], 0.0, 0
        with torch.no_grad():
            while count < 9:
                each = translator.model(torch.tensor([[*source.tokens, *said]])).logits[0, -1].log_softmax(-1)
                choice = int(each.argmax()) if count < 8 else translator._ends[0]
                said.append(choice)
                total, count = total + float(each[choice]), count + 1
                if choice in translator._ends:
                    break
        assert row[0].text == translator.tokenizer.decode(said).split("\n")[0].removesuffix("</s>").strip()
        assert row[0].score == pytest.approx(total / count, abs=1e-4)
        assert row[0].finished == (count < 9)


def test_a_batch_says_what_each_sentence_says_alone(translator):
    sources = translator.encode(TEXTS)
    for decoding in (Decoding(beam=2, n_best=2, max_length=8), Decoding(beam=1, max_length=8)):
        together = translator.translate(sources, decoding)
        for source, row in zip(sources, together, strict=True):
            alone = translator.translate([source], decoding)[0]
            assert [entry.text for entry in alone] == [entry.text for entry in row]
            assert [entry.score for entry in alone] == pytest.approx([entry.score for entry in row], abs=1e-4)


def test_no_logits_of_the_prompt_are_computed(translator):
    """With a vocabulary of 256,000 those of a prompt with examples are most of the work and of the memory."""
    ids = torch.tensor([translator.encode(TEXTS[:1])[0].tokens])
    kept = last_logits(translator.model, 3, input_ids=ids)
    torch.testing.assert_close(kept, translator.model(ids).logits[:, -3:])
    positions = []
    hook = translator.model.get_output_embeddings().register_forward_pre_hook(
        lambda _, given: positions.append(given[0].size(1))
    )
    translator.translate(translator.encode(TEXTS), Decoding(beam=1, max_length=2))
    hook.remove()
    assert 1 < max(positions) <= 4 < ids.size(1)


def test_a_line_feed_ends_a_translation(translator):
    ends = [translator.tokenizer.decode([entry]) for entry in translator._ends]
    assert ends[0] == "</s>" and all("\n" in end for end in ends[1:]) and len(ends) > 1
    draws = translator.translate(translator.encode(TEXTS), Decoding(sampling=True, n_best=8, max_length=40))
    assert not any("\n" in entry.text for row in draws for entry in row)


def test_examples_stand_in_the_prompt(directory, tmp_path, translator):
    for language, lines in zip(("de", "en"), zip(*PAIRS, strict=True), strict=True):
        (tmp_path / f"shots.{language}").write_text("\n".join(lines) + "\n")
    choice = ModelChoice((), prompt="{source} = {target}", examples=f"{tmp_path}/shots:de-en")
    shown = load_translator(str(directory), choice)
    assert shown.prompt("x") == "ein hund = a dog\n\n{target} = {source}\n\nx ="
    assert shown.hash != translator.hash
    with pytest.raises(UserError, match="it must be PREFIX:SRC-TGT, such as shots:de-en"):
        load_translator(str(directory), ModelChoice((), prompt="{source}", examples="shots"))
    for language in ("de", "en"):
        (tmp_path / f"shots.{language}").write_text("x\n" * 33)
    with pytest.raises(UserError, match="has more than 32 pairs"):
        load_translator(str(directory), choice)


def test_a_language_model_must_be_told_what_to_do(directory):
    with pytest.raises(UserError, match="is a language model, which must be told what to translate"):
        load_translator(str(directory), ModelChoice((), source_language="German"))
