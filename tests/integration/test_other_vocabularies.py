"""Teachers with a vocabulary of their own write the student's store: encoder-decoders, a language model."""

import json
import shutil

import numpy as np
import pytest
import torch
from fairseq_runs import TINY_STUDENT, run_train
from tiny_next_tokens import first_step
from tiny_teacher import write_bert
from tiny_translators import write_bart, write_language_model, write_marian, write_t5

from cmlm_kd.api.next_tokens import Pairs, TeacherOptions, TranslationData
from cmlm_kd.cli import main
from cmlm_kd.fairseq_files.databin import Databin, read_symbols
from cmlm_kd.models.translators.loading import load_language_model, load_seq2seq
from cmlm_kd.store import SoftTargetStore
from cmlm_kd.teachers.kinds import load_teachers

GERMAN = ["ein hund sieht den mann", "der mann geht", "hund und mann", "ein mann", "der hund sieht"] * 2
ENGLISH = ["a dog sees the man", "the man goes", "dog and man", "a man", "the dog sees"] * 2
UNSPOKEN = 3  # the sentence with a letter that the teachers do not know


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    """A data-bin in the tokens of a BERT, and teachers with others."""
    root = tmp_path_factory.mktemp("vocabularies")
    english = list(ENGLISH)
    english[UNSPOKEN] = "a man ☃"
    for language, lines in (("de", GERMAN), ("en", english)):
        (root / f"train.{language}").write_text("\n".join(lines) + "\n")
    write_bert(root / "bert", [*GERMAN, *english], words=6)
    arguments = ["-s", "de", "-t", "en", "--trainpref", root / "train", "--teacher", root / "bert"]
    assert main(["prepare", *map(str, arguments), "--destdir", str(root / "data")]) == 0
    write_marian(root / "marian")
    write_t5(root / "t5")
    write_bart(root / "bart")
    write_language_model(root / "lm")
    return root


def dump(road, output, name, *flags, data="data"):
    flags = ("--topk", 4, "--tail-temperatures", 1, "--max-tokens", 40, "--shard-rows", 4, *flags)
    return main(
        ["dump", str(road / data), "--teacher", str(road / name), "--output", str(output), *map(str, flags)]
    )


def load(road, name):
    data = TranslationData(road / "data", "de", "en", len(read_symbols(road / "data" / "dict.en.txt")) + 4)
    return load_teachers([str(road / name)], data, TeacherOptions())


def sides(road):
    return [Databin.open(road / "data" / f"train.de-en.{language}") for language in ("de", "en")]


@torch.no_grad()
def own_log_probability(road, name, row, before="\nen: "):
    """Return what a teacher says of a pair's target as a whole, in its own tokens, asked by itself."""
    source, target = GERMAN[row], ENGLISH[row]
    if name == "lm":
        loaded = load_language_model(str(road / name))
        prompt = loaded.tokenizer(f"de: {source}{before.rstrip(' ')}")["input_ids"]
        ids = loaded.tokenizer(" " * before.endswith(" ") + target)["input_ids"]
        logits = loaded.model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 :]
        ends = [i for i in range(len(loaded.tokenizer)) if loaded.tokenizer.decode([i]).startswith("\n")]
        ends.append(loaded.tokenizer.eos_token_id)
    else:
        loaded = load_seq2seq(str(road / name))
        ids = loaded.tokenizer(text_target=target, add_special_tokens=False)["input_ids"]
        inputs = torch.tensor([loaded.tokenizer(source)["input_ids"]])
        before = [loaded.decoder_start, *([] if loaded.forced_first is None else [loaded.forced_first])]
        history = torch.tensor([[*before, *ids]])
        logits = loaded.model(input_ids=inputs, decoder_input_ids=history).logits[0, len(before) - 1 :]
        ends = [loaded.tokenizer.eos_token_id]
    probs = logits.softmax(-1)
    inner = probs[torch.arange(len(ids)), torch.tensor(ids)].log().sum()
    return float(inner + probs[len(ids), ends].sum().log())


@pytest.mark.parametrize("name", ["marian", "t5", "bart", "lm"])
def test_a_target_is_at_least_as_likely_as_by_the_teachers_own_tokens(road, tmp_path, name, capsys):
    """The chain rule over the gold spelling counts the gold path, and the others that can be seen from it."""
    assert dump(road, tmp_path / "store", name) == 0
    store, (_, target) = SoftTargetStore.open(tmp_path / "store"), sides(road)
    unspoken = int(name not in ("bart", "lm"))  # which have a token for every byte
    assert (store[UNSPOKEN] is None) == bool(unspoken) and store.rows_without_teacher == unspoken
    teacher = load(road, name)
    for row in (0, 1, 2):
        said = teacher.next_tokens(pairs_of(road, row))
        gold = said.logits[torch.arange(len(target[row])), torch.from_numpy(target[row].astype(np.int64))]
        own = own_log_probability(road, name, row)
        assert own - 1e-3 <= float(gold.sum()) < own + 2
        total = said.logits.exp().sum(1) + said.outside.exp()
        torch.testing.assert_close(total, torch.ones_like(total), atol=1e-4, rtol=0)
        ids, logits, tail = store[row]
        mass = np.exp(logits.astype(float)).sum(1) + np.exp(tail[:, 0].astype(float))
        np.testing.assert_allclose(mass, 1, atol=5e-3)
        best = said.logits.max(1)
        np.testing.assert_array_equal(ids[:, 0], best.indices)
        np.testing.assert_allclose(logits[:, 0], best.values, atol=5e-3)
    capsys.readouterr()
    assert main(["verify", str(tmp_path / "store"), "--data", str(road / "data")]) == 0
    output = capsys.readouterr().out
    assert f"the teacher is a {teacher.kind}" in output and f"({unspoken} without a teacher row)" in output


@pytest.mark.parametrize("before", ["\nen: ", "\n", "\nEnglish:\n"])
def test_a_target_has_a_space_before_it_where_the_prompt_has_one(road, before):
    """At the beginning of a line it has none, as in the examples and in what a model itself says there."""
    data = TranslationData(road / "data", "de", "en", len(read_symbols(road / "data" / "dict.en.txt")) + 4)
    options = TeacherOptions(prompt=f"de: {{source}}{before}{{target}}")
    teacher, (_, target) = load_teachers([str(road / "lm")], data, options), sides(road)
    for row in (0, 1, 2):
        said = teacher.next_tokens(pairs_of(road, row))
        gold = said.logits[torch.arange(len(target[row])), torch.from_numpy(target[row].astype(np.int64))]
        own = own_log_probability(road, "lm", row, before)
        assert own - 1e-3 <= float(gold.sum()) < own + 2


def pairs_of(road, *rows):
    source, target = sides(road)
    return Pairs([source[row] for row in rows], [target[row] for row in rows])


def test_batches_do_not_change_what_is_said(road):
    teacher = load(road, "lm")
    alone = torch.cat([teacher.next_tokens(pairs_of(road, row)).logits for row in (0, 4)])
    together = teacher.next_tokens(pairs_of(road, 0, 4)).logits
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


SHOTS = ("--source-language", "German", "--target-language", "English", "--examples", "{root}/train:de-en")


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("t5", ("--source-language", "German", "--target-language", "English")),
        ("lm", SHOTS),
        ("marian,{root}/lm", SHOTS[-2:]),  # a mean, of which one member reads the examples
    ],
)
def test_in_the_step_they_give_the_losses_of_the_store(road, tmp_path, name, flags):
    """What a model of many languages or a prompt is told means the same to both."""
    flags = [str(flag).replace("{root}", str(road)) for flag in flags]
    names = f"{road / name}".replace("{root}", str(road))
    told = ["--tail-temperatures", 3, *flags, "--teacher", *names.split(",")]
    assert dump(road, tmp_path / "store", "marian", *told) == 0
    stored = first_step(road / "data", tmp_path / "a", "--soft-targets", tmp_path / "store")
    asked = first_step(road / "data", tmp_path / "b", "--online-teacher", names, *flags)
    assert asked == pytest.approx(stored, rel=2e-4)
    assert asked["kd_loss"] != pytest.approx(asked["nll_loss"], rel=1e-2), "so that there is a difference"


def test_all_that_they_say_and_of_a_students_predictions_too(road, tmp_path):
    """The pair that they cannot spell is trained on hard labels alone."""
    run_train(
        *(road / "data", "--task", "translation_kd", "--criterion", "tie_kd", *TINY_STUDENT),
        *("--online-teacher", road / "marian", "--kd-iterations", 2, "--max-tokens", 90, "--max-epoch", 1),
        *("--disable-validation", "--save-dir", tmp_path, "--no-epoch-checkpoints"),
    )
    state = torch.load(tmp_path / "checkpoint_last.pt", weights_only=False)
    meters = dict((entry[1], entry[3]) for entry in state["extra_state"]["metrics"]["train"])
    assert float(meters["without_teacher"]["sum"]) == 1
    assert all(0 < float(meters[name]["sum"]) < float("inf") for name in ("kd_kl", "ranking_loss"))


def refusal(capsys, tmp_path, status):
    error = capsys.readouterr().err.splitlines()[-1]
    assert status == 2 and error.startswith("cmlm-kd dump: ") and not (tmp_path / "store").exists()
    return error


def test_data_that_do_not_say_what_they_spell(road, tmp_path, capsys):
    data = shutil.copytree(road / "data", tmp_path / "data")
    (data / "prepare.json").unlink()
    error = refusal(capsys, tmp_path, dump(road, tmp_path / "store", "marian", data=data))
    assert "has tokens of its own, and only the dictionaries of 'cmlm-kd prepare' say" in error


def test_a_marian_of_other_languages(road, tmp_path, capsys):
    write_marian(tmp_path / "other", languages=("fi", "en"))
    error = refusal(capsys, tmp_path, dump(road, tmp_path / "store", tmp_path / "other"))
    assert "translates fi to en" in error and "has de to en; give a teacher of these" in error


def test_a_model_without_a_tokenizer(road, tmp_path, capsys):
    shutil.copytree(road / "lm", tmp_path / "lm")
    for file in (tmp_path / "lm").glob("tokenizer*"):
        file.unlink()
    error = refusal(capsys, tmp_path, dump(road, tmp_path / "store", tmp_path / "lm"))
    assert "has no tokenizer" in error


def test_a_prompt_without_a_place_for_the_source(road, tmp_path, capsys):
    error = refusal(capsys, tmp_path, dump(road, tmp_path / "store", "lm", "--prompt", "Translate: {target}"))
    assert "has no place for the source" in error


def test_a_teacher_that_spells_nothing_as_the_student_does(road, tmp_path, capsys):
    for language, line in (("de", "ein mann"), ("en", "a man ☃")):
        (tmp_path / f"train.{language}").write_text(f"{line}\n" * 3)
    text = ["-s", "de", "-t", "en", "--trainpref", tmp_path / "train", "--teacher", road / "bert"]
    assert main(["prepare", *map(str, text), "--destdir", str(tmp_path / "data")]) == 0
    assert dump(road, tmp_path / "store", "marian", data=tmp_path / "data") == 0
    said = capsys.readouterr()
    assert "3 pairs are too long for the teacher or spelled otherwise by it" in said.out
    assert "warning: the teacher reads none of these pairs" in said.err
    assert main(["verify", str(tmp_path / "store"), "--data", str(tmp_path / "data")]) == 0
    said = capsys.readouterr()
    assert "3 sentences (3 without a teacher row), 0 tokens" in said.out and "nan" not in said.out
    assert "store says nothing of any of its 3 sentences: the teacher reads none of them" in said.err


@pytest.mark.parametrize(("teachers", "said"), [(("marian",), True), (("marian", "lm"), False)])
def test_a_prompt_that_no_teacher_reads(road, tmp_path, capsys, teachers, said):
    names = [road / name for name in teachers]
    flags = ["--teacher", *names, "--output", tmp_path / "store", "--prompt", "{source} = {target}"]
    assert main(["dump", str(road / "data"), *map(str, flags)]) == (2 if said else 0)
    assert (f"--prompt means nothing to {names[0]}; leave it out" in capsys.readouterr().err) == said


def test_too_many_examples(road, tmp_path, capsys):
    for language in ("de", "en"):
        (tmp_path / f"shots.{language}").write_text("ein mann\n" * 33)
    examples = f"{tmp_path / 'shots'}:de-en"
    error = refusal(capsys, tmp_path, dump(road, tmp_path / "store", "lm", "--examples", examples))
    assert "has more than 32 pairs" in error


def test_the_prompt_is_part_of_the_store(road, tmp_path, capsys):
    assert dump(road, tmp_path / "store", "lm") == 0
    assert dump(road, tmp_path / "store", "lm", "--prompt", "{source} = {target}") == 2
    assert "has teacher_hash" in capsys.readouterr().err
    manifest = json.loads((tmp_path / "store" / "manifest.json").read_text())
    assert manifest["settings"]["teacher_kind"] == "language model"
