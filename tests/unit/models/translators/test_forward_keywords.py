"""Every keyword that our calls give to a Hugging Face translator has an effect; ``generate`` knows its."""

import functools

import pytest
import torch
from forward_keywords import keywords_without_effect
from tiny_translators import WITH_CODES, write_bart, write_language_model, write_marian, write_t5

from cmlm_kd.api.translator import Decoding, ModelChoice
from cmlm_kd.models.translators.kinds import load_translator
from cmlm_kd.teachers.hugging_face import EncoderDecoderTeacher, LanguageModelTeacher

TEXTS = ["der mann geht", "ein hund sieht den mann und der mann geht"]
FAMILIES = {
    "marian": (write_marian, None, None),
    **WITH_CODES,
    "t5": (write_t5, None, None),
    "bart": (write_bart, None, None),
    "language_model": (functools.partial(write_language_model, learnt_positions=True), "German", "English"),
}
SPEED = ("use_cache", "logits_to_keep")
"""Keywords that change no number."""


@pytest.fixture(scope="module", params=FAMILIES)
def translator(request, tmp_path_factory):
    write, source, target = FAMILIES[request.param]
    choice = ModelChoice((), source_language=source, target_language=target)
    return load_translator(str(write(tmp_path_factory.mktemp("families") / request.param)), choice)


def vector(rows):
    """The scores of hypotheses, and their texts as numbers."""
    found = [number for row in rows for entry in row for number in (entry.score, *map(ord, entry.text))]
    return torch.tensor(found, dtype=torch.float64)


def scores(named):
    """Whether a forward pass is one that scores, not one of ``generate``."""
    return named.get("use_cache") is False


def test_translators(translator):
    """Its encoder's, and those of the forward pass that scores what was found."""
    sources = translator.encode(TEXTS)
    decoding = Decoding(beam=2, n_best=2, max_length=6)

    def call():
        return vector(translator.translate(sources, decoding))

    model = translator.model
    if not model.config.is_encoder_decoder:
        given = {"input_ids", "attention_mask", "position_ids"}
        idle = (*SPEED, "attention_mask")  # positions that begin anew say the same of what stands before
        assert not keywords_without_effect(model, call, given, idle=idle, ours=scores)
        return
    assert not keywords_without_effect(model.get_encoder(), call, {"input_ids", "attention_mask"})
    given = {"encoder_outputs", "attention_mask", "decoder_input_ids"}
    assert not keywords_without_effect(model, call, given, idle=SPEED, ours=scores)


def test_teachers(translator):
    model, encodes = translator.model, translator.model.config.is_encoder_decoder
    kind = EncoderDecoderTeacher if encodes else LanguageModelTeacher
    teacher = kind.__new__(kind)
    teacher.model, teacher.loaded, teacher.tokenizer = model, translator.loaded, translator.tokenizer
    teacher.device, teacher.end = torch.device("cpu"), 0
    contexts = [source.tokens for source in translator.encode(TEXTS)]
    said = functools.partial(teacher._logits, contexts, [[5, 6], [7, 5, 6]])
    least = {"input_ids", "attention_mask", *(["decoder_input_ids"] if encodes else [])}
    idle = SPEED if encodes else (*SPEED, "attention_mask")  # nothing sees what is padded behind it
    found = keywords_without_effect(
        model, lambda: torch.cat([row.flatten() for row in said()]), least, idle=idle
    )
    assert not found


def test_generate_knows_its_keywords(translator):
    """What is misspelt there raises an error, other than in a forward pass."""
    ids = torch.tensor([translator.encode(TEXTS[:1])[0].tokens])
    with pytest.raises(ValueError, match="num_beam"):
        translator.model.generate(ids, num_beam=2, max_new_tokens=2)
