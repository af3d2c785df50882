"""Models of many languages translate and teach with their codes where transformers itself puts them."""

import pytest
import torch
from tiny_next_tokens import first_step
from tiny_teacher import write_bert
from tiny_translators import WITH_CODES, write_nllb
from toy_translator import lines_of

from cmlm_kd.cli import main
from cmlm_kd.errors import UserError
from cmlm_kd.models.translators.loading import load_seq2seq
from cmlm_kd.store import SoftTargetStore
from cmlm_kd.teachers.carrying import Carrier

GERMAN = ["ein hund sieht den mann", "der mann geht", "hund und mann"]
ENGLISH = ["a dog sees the man", "the man goes", "dog and man"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Text and its data-bin."""
    root = tmp_path_factory.mktemp("codes")
    for language, lines in (("de", GERMAN), ("en", ENGLISH)):
        (root / f"train.{language}").write_text("\n".join(lines) + "\n")
    write_bert(root / "bert", [*GERMAN, *ENGLISH], words=6)
    flags = ["-s", "de", "-t", "en", "--trainpref", root / "train", "--teacher", root / "bert"]
    assert main(["prepare", *map(str, flags), "--destdir", str(root / "data")]) == 0
    return root


@pytest.fixture(scope="module", params=WITH_CODES)
def family(request, root):
    """A model's directory and its flags."""
    write, source, target = WITH_CODES[request.param]
    directory = write(root / request.param)
    return directory, ("--source-language", source, "--target-language", target)


def reference_of(family):
    """Return the model, and its tokenizer as transformers documents it."""
    directory, (_, source, _, target) = family
    loaded = load_seq2seq(str(directory), source, target)
    loaded.tokenizer.src_lang, loaded.tokenizer.tgt_lang = source, target
    return loaded.model, loaded.tokenizer, target


def test_a_translation_begins_as_transformers_begins_it(root, family, tmp_path):
    directory, codes = family
    flags = ["--input", root / "train.de", "--output", tmp_path / "y.en", "--max-length", 5, "--beam", 1]
    flags += ["--output-scores", tmp_path / "y.tsv", "--shard-rows", 1, *codes]
    assert main(["translate", "--model", str(directory), *map(str, flags)]) == 0
    model, tokenizer, target = reference_of(family)
    code = tokenizer.get_lang_id(target) if hasattr(tokenizer, "get_lang_id") else None
    code = tokenizer.convert_tokens_to_ids(target) if code is None else code
    forced, begin = 1, {"forced_bos_token_id": code}
    if type(tokenizer).__name__ == "MBartTokenizer":
        forced, begin = 0, {"decoder_start_token_id": code}
    for german, line in zip(GERMAN, lines_of(tmp_path / "y.tsv"), strict=True):
        found = model.generate(
            **tokenizer(german, return_tensors="pt"), **begin, forced_eos_token_id=2,
            max_new_tokens=6 + forced, return_dict_in_generate=True, output_logits=True,
        )  # fmt: skip
        said = found.sequences[0, 1 + forced :]  # random models say many codes, which are no text
        logits = torch.cat(found.logits[forced:]).log_softmax(-1)  # (T, U)
        score = logits.gather(1, said[:, None]).mean()
        text = " ".join(tokenizer.decode(said, skip_special_tokens=True).split())
        assert line.split("\t")[2] == text
        assert float(line.split("\t")[1]) == pytest.approx(float(score), abs=1e-4)


def test_a_teacher_is_asked_as_transformers_trains_it(root, family, tmp_path, monkeypatch):
    carry, seen = Carrier.carry, []

    def carry_seen(self, probs, tokens, *more, **named):
        seen.append((probs, list(tokens)))
        return carry(self, probs, tokens, *more, **named)

    monkeypatch.setattr(Carrier, "carry", carry_seen)
    directory, codes = family
    flags = ["dump", root / "data", "--teacher", directory, "--output", tmp_path / "store", "--topk", 2]
    assert main([*map(str, flags), *codes]) == 0
    assert SoftTargetStore.open(tmp_path / "store").rows_without_teacher == 0
    model, tokenizer, _ = reference_of(family)
    wanted = []
    for german, english in zip(GERMAN, ENGLISH, strict=True):
        batch = tokenizer(german, text_target=english, return_tensors="pt")
        labels = batch["labels"][0]  # (M + 1,), the code among them
        spelled = labels != batch["labels"][0, -1 if labels[-1] != 2 else 0]
        with torch.no_grad():
            logits = model(**batch).logits[0]  # (M + 1, U)
        wanted.append((logits[spelled].softmax(-1), labels[spelled].tolist()))
    assert sorted(tokens for _, tokens in seen) == sorted(tokens for _, tokens in wanted)
    for probs, tokens in seen:
        right = next(found for found, own in wanted if own == tokens)
        torch.testing.assert_close(probs, right, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", ["nllb", "mbart"], indirect=True)  # the code is forced, or begins
def test_a_teacher_in_the_step_gives_the_losses_of_the_store(root, family, tmp_path):
    directory, codes = family
    flags = ["dump", root / "data", "--teacher", directory, "--output", tmp_path / "store", "--topk", 4]
    assert main([*map(str, flags), "--tail-temperatures", "3", *codes]) == 0
    stored = first_step(root / "data", tmp_path / "a", "--soft-targets", tmp_path / "store")
    asked = first_step(root / "data", tmp_path / "b", "--online-teacher", directory, *codes)
    assert asked == pytest.approx(stored, rel=2e-4)


def test_a_teacher_in_the_step_without_its_codes(root, tmp_path):
    directory = write_nllb(tmp_path / "nllb")
    with pytest.raises(UserError, match="knows several languages; say with --source-language which"):
        first_step(root / "data", tmp_path / "save", "--online-teacher", directory)
    codes = ("--source-language", "deu_Latn", "--target-language", "de")
    with pytest.raises(UserError, match=r"--target-language is 'de', which model .*nllb does not know"):
        first_step(root / "data", tmp_path / "save", "--online-teacher", directory, *codes)
    assert not (tmp_path / "save" / "checkpoint_last.pt").exists()
