"""fairseq's checkpoints translate text: alone, as an ensemble, by sampling and through CTranslate2."""

import logging
import shutil
from argparse import Namespace

import pytest
import torch
from fairseq_runs import run_generate, run_train
from tiny_translation import pairs, write_student
from toy_translator import lines_of, write_lines

from cmlm_kd.api.translator import Decoding, ModelChoice
from cmlm_kd.cli import main
from cmlm_kd.errors import UserError
from cmlm_kd.evaluation.generation import read_hypotheses
from cmlm_kd.models.translators.kinds import load_translator
from fairseq_plugins.translators.conversion import convert_checkpoint
from fairseq_plugins.translators.loading import load_ensemble

GERMAN, ENGLISH = zip(*pairs(), strict=True)


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    return write_student(tmp_path_factory.mktemp("student"))


@pytest.fixture(scope="module")
def translator(student):
    return load_translator(str(student), ModelChoice(()))


def changed(student, tmp_path, change):
    """Write a checkpoint with something else in it; returns its path."""
    state = torch.load(student, weights_only=False)
    change(state)
    torch.save(state, tmp_path / "changed.pt")
    return str(tmp_path / "changed.pt")


def texts(rows):
    return [[entry.text for entry in row] for row in rows]


def test_text_is_translated_as_fairseq_generate_does(student, tmp_path):
    root = student.parents[1]
    source = write_lines(tmp_path / "x.de", GERMAN)
    flags = ["--input", source, "--output", tmp_path / "y.en", "--beam", 3, "--device", "cpu"]
    assert main(["translate", "--model", str(student), *map(str, flags)]) == 0
    printed = run_generate(
        *(root / "data", "--path", student, "--gen-subset", "train", "--beam", 3, "--cpu"),
        *("--task", "translation", "--post-process", "sentencepiece", "--max-tokens", 500),
    )
    (tmp_path / "gen.txt").write_text(printed)
    found = lines_of(tmp_path / "y.en")
    assert found == read_hypotheses(tmp_path / "gen.txt")
    right = sum(a == b for a, b in zip(found, ENGLISH, strict=True))
    assert right > len(ENGLISH) // 2  # it has learnt something, so that equal lines mean something


def test_scores_are_those_of_fairseq(student, translator):
    root = student.parents[1]
    printed = run_generate(
        *(root / "data", "--path", student, "--gen-subset", "valid", "--beam", 3, "--nbest", 2, "--cpu"),
        *("--task", "translation", "--max-tokens", 500),
    )
    # fairseq prints the score in base 2.
    wanted = [float(line.split("\t")[1]) for line in sorted_hypotheses(printed)]
    rows = translator.translate(translator.encode(GERMAN[:6]), Decoding(beam=3, n_best=2))
    natural = [entry.score / torch.log(torch.tensor(2.0)).item() for row in rows for entry in row]
    assert natural == pytest.approx(wanted, abs=1e-3)


def sorted_hypotheses(printed):
    lines = [line for line in printed.split("\n") if line.startswith("H-")]
    return sorted(lines, key=lambda line: int(line.split("\t")[0][2:]))


def test_an_ensemble_of_a_model_with_itself_is_that_model(student, translator):
    both = load_translator(f"{student}:{student}", ModelChoice(()))
    assert both.description == "fairseq transformer_iwslt_de_en, ensemble of 2"
    assert both.hash != translator.hash
    sources = translator.encode(GERMAN[:10])
    assert texts(both.translate(sources, Decoding())) == texts(translator.translate(sources, Decoding()))


def test_samples_repeat_with_their_seed(translator):
    sources = translator.encode(GERMAN[:10])
    drawn = [
        translator.translate(
            sources, Decoding(sampling=True, n_best=3, temperature=2.0, seed=seed, top_k=500)
        )
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0][0]) == 3
    scores = [entry.score for entry in drawn[0][0]]
    assert scores == sorted(scores, reverse=True)


def test_a_hypothesis_that_reaches_the_greatest_length_has_no_end(translator):
    rows = translator.translate(translator.encode(GERMAN[:3]), Decoding(max_length=2))
    assert [row[0].finished for row in rows] == [False] * 3
    assert all(row[0].finished for row in translator.translate(translator.encode(GERMAN[:3]), Decoding()))


def test_a_data_bin_by_name(student, translator, tmp_path):
    found = translator.translate(translator.encode(GERMAN[:2]), Decoding())
    moved = tmp_path / "data"
    shutil.copytree(student.parents[1] / "data", moved)
    elsewhere = changed(student, tmp_path, lambda state: state["cfg"]["task"].update(data="gone"))
    with pytest.raises(
        UserError, match=r"changed.pt needs the dictionaries .* and gone/dict.* is not there; give"
    ):
        load_translator(elsewhere, ModelChoice(()))
    again = load_translator(elsewhere, ModelChoice((), data=moved))
    assert texts(again.translate(again.encode(GERMAN[:2]), Decoding())) == texts(found)
    shutil.rmtree(moved / "teacher")
    with pytest.raises(
        UserError, match=r"has no tokenizer \(the folder 'teacher', which 'cmlm-kd prepare' writes\)"
    ):
        load_translator(elsewhere, ModelChoice((), data=moved))


def test_another_pair_of_languages(student):
    with pytest.raises(
        UserError, match=r"translates de to en, en to de is asked for; give a model of that pair"
    ):
        load_translator(str(student), ModelChoice((), source_language="en", target_language="de"))


def test_an_ensemble_of_two_pairs(student, tmp_path):
    def turn(state):
        state["cfg"]["task"].update(source_lang="en", target_lang="de")

    with pytest.raises(
        UserError, match=r"changed.pt translates en to de, .* de to en; an ensemble has one pair"
    ):
        load_ensemble([str(student), changed(student, tmp_path, turn)])


@pytest.mark.parametrize("language", ["de", "en"])
def test_dictionaries_of_one_size_and_other_words(student, tmp_path, language):
    """fairseq sees nothing wrong, and every entry would be taken for another word."""
    data = student.parents[1] / "data"
    other = tmp_path / "other"
    shutil.copytree(data, other)
    words = (other / f"dict.{language}.txt").read_text().splitlines(keepends=True)
    (other / f"dict.{language}.txt").write_text("".join(reversed(words)))
    elsewhere = changed(student, tmp_path, lambda state: state["cfg"]["task"].update(data=str(other)))
    message = (
        rf"changed.pt was trained with dictionary \w+ for {language}, .* its ids stand for other entries"
    )
    with pytest.raises(UserError, match=message):
        load_ensemble([str(student), elsewhere])
    with pytest.raises(UserError, match=message):
        load_ensemble([elsewhere], data)
    shutil.copy(data / f"dict.{language}.txt", tmp_path)  # beside it: other data lie there by now
    assert load_ensemble([elsewhere], data).languages == ("de", "en")


def test_nan(student, tmp_path):
    def spoil(state, value):
        state["model"]["decoder.layer_norm.weight"].fill_(value)

    with pytest.raises(
        UserError, match=r"decoder.layer_norm.weight has numbers that are not finite: the training diverged"
    ):
        load_ensemble([changed(student, tmp_path, lambda state: spoil(state, float("nan")))])
    huge = load_translator(changed(student, tmp_path, lambda state: spoil(state, 1e38)), ModelChoice(()))
    for decoding in (Decoding(), Decoding(sampling=True)):
        with pytest.raises(UserError, match="the model gives no finite numbers: its training has diverged"):
            huge.translate(huge.encode(GERMAN[:2]), decoding)


def test_settings_that_could_run_something(student, tmp_path):
    value = "__import__('os').getpid()"
    path = changed(
        student, tmp_path, lambda state: setattr(state["cfg"]["model"], "adaptive_softmax_cutoff", value)
    )
    with pytest.raises(UserError, match=r"adaptive_softmax_cutoff is .*, which is no plain value"):
        load_ensemble([path])


def test_fairseq_reports_as_before_after_a_model_was_loaded(student):
    """An online teacher is loaded in the midst of a training, whose figures fairseq goes on to report."""
    logger = logging.getLogger("fairseq")
    level = logger.level
    load_translator(str(student), ModelChoice(()))
    assert logger.level == level


def test_a_checkpoint_of_another_task(student, tmp_path):
    path = changed(student, tmp_path, lambda state: state["cfg"]["task"].update(_name="masked_lm"))
    with pytest.raises(UserError, match=r"is a checkpoint of task 'masked_lm', which does not translate"):
        load_ensemble([path])


def test_a_student_that_ctranslate2_would_convert_wrongly(student, tmp_path):
    pytest.importorskip("ctranslate2")
    path = changed(
        student, tmp_path, lambda state: setattr(state["cfg"]["model"], "cross_self_attention", True)
    )
    with pytest.raises(UserError, match=r"was trained with --cross-self-attention, .*translate wrongly"):
        convert_checkpoint((str(path),), load_ensemble([str(student)]), tmp_path / "converted", "float32")


@pytest.mark.parametrize("portable", [False, True])
def test_by_way_of_ctranslate2(student, translator, tmp_path, portable):
    pytest.importorskip("ctranslate2")
    path = student
    if portable:
        path = tmp_path / "portable.pt"
        main(["average", "--inputs", str(student), "--portable", "--output", str(path)])
    converted = load_translator(str(path), ModelChoice(()), via="ctranslate2")
    assert "converted for CTranslate2, float32 " in converted.description
    assert converted.hash != translator.hash
    found = converted.translate(converted.encode(GERMAN), Decoding(n_best=2))
    wanted = translator.translate(translator.encode(GERMAN), Decoding(n_best=2))
    assert texts(found) == texts(wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        assert [entry.score for entry in ours] == pytest.approx([entry.score for entry in theirs], abs=1e-4)
        assert all(entry.finished for entry in ours)


def test_no_hypothesis_of_ctranslate2_is_empty_where_none_of_fairseq_is(student, translator, monkeypatch):
    """Its search may end at once, and what does takes the place of a hypothesis that says something."""
    pytest.importorskip("ctranslate2")
    converted = load_translator(str(student), ModelChoice(()), via="ctranslate2")
    decoding = Decoding(beam=25, n_best=25, length_penalty=0.7)
    found = converted.translate(converted.encode(GERMAN), decoding)
    wanted = translator.translate(translator.encode(GERMAN), decoding)
    assert all(entry.text for row in found for entry in row)
    assert [row[0].text for row in found] == [row[0].text for row in wanted]
    both = 0
    for ours, theirs in zip(found, wanted, strict=True):
        scores = [entry.score for entry in ours]
        assert len(ours) == 25 and scores == sorted(scores, reverse=True)
        by_text = {entry.text: entry.score for entry in theirs}
        for entry in ours:
            if entry.text in by_text:
                assert entry.score == pytest.approx(by_text[entry.text], abs=1e-4)
                both += 1
    assert both > 10 * len(GERMAN)
    monkeypatch.setattr(type(converted), "_say_something", lambda *_: None)
    bare = converted.translate(converted.encode(GERMAN), decoding)
    assert any(not entry.text for row in bare for entry in row), "so that there was something to mend"


def test_ctranslate2_draws_among_all_tokens_where_there_are_fewer_than_k(student):
    pytest.importorskip("ctranslate2")
    converted = load_translator(str(student), ModelChoice(()), via="ctranslate2")
    sources = converted.encode(GERMAN[:10])
    drawn = [converted.translate(sources, Decoding(sampling=True, top_k=k)) for k in (99_999, None)]
    assert drawn[0] == drawn[1]


def test_a_temperature_of_the_search(student, translator):
    """fairseq's search has one; CTranslate2's would not look at it."""
    pytest.importorskip("ctranslate2")
    sources = translator.encode(GERMAN[:3])
    plain, hot = (translator.translate(sources, Decoding(temperature=value)) for value in (1.0, 3.0))
    assert [row[0].score for row in hot] < [row[0].score for row in plain]
    converted = load_translator(str(student), ModelChoice(()), via="ctranslate2")
    with pytest.raises(UserError, match="--temperature is 3, and CTranslate2 has one for drawing alone; add"):
        converted.translate(converted.encode(GERMAN[:3]), Decoding(temperature=3.0))


def test_samples_of_ctranslate2_repeat_with_their_seed(student):
    pytest.importorskip("ctranslate2")
    converted = load_translator(str(student), ModelChoice((), quantize="int8"), via="ctranslate2")
    sources = converted.encode(GERMAN[:20])
    drawn = [
        converted.translate(sources, Decoding(sampling=True, n_best=2, temperature=2.0, seed=seed))
        for seed in (1, 2, 1)
    ]
    assert drawn[0] == drawn[2] != drawn[1]


def test_what_ctranslate2_cannot_do(student, translator):
    pytest.importorskip("ctranslate2")
    with pytest.raises(UserError, match=r"--via ctranslate2 has no ensembles, --model names 2 checkpoints"):
        load_translator(f"{student}:{student}", ModelChoice(()), via="ctranslate2")
    with pytest.raises(UserError, match=r"--quantize is 'int4'; allowed are float32, int8"):
        load_translator(str(student), ModelChoice((), quantize="int4"), via="ctranslate2")
    with pytest.raises(UserError, match=r"--quantize means nothing to .*, a model of kind fairseq"):
        load_translator(str(student), ModelChoice((), quantize="int8"))
    with pytest.raises(
        UserError, match=r"converts fairseq's models and encoder-decoders of Hugging Face, not toy"
    ):
        load_translator("toy=x", ModelChoice(()), via="ctranslate2")


def test_an_lstm_translates_here_and_not_by_way_of_ctranslate2(student, tmp_path):
    sizes = [f"--{side}-{part}" for side, part in (("encoder", "embed-dim"), ("encoder", "hidden-size"))]
    sizes += ["--decoder-embed-dim", "--decoder-hidden-size", "--decoder-out-embed-dim"]
    run_train(
        *(student.parents[1] / "data", "--arch", "lstm", *(word for flag in sizes for word in (flag, 16))),
        *(
            "--task",
            "translation",
            "--criterion",
            "label_smoothed_cross_entropy",
            "--optimizer",
            "adam",
            "--cpu",
        ),
        *("--max-update", 1, "--max-tokens", 300, "--save-dir", tmp_path, "--no-epoch-checkpoints"),
    )
    lstm = load_translator(str(tmp_path / "checkpoint_last.pt"), ModelChoice(()))
    sources = lstm.encode(["mann", *GERMAN[:2], "der mann"])  # not sorted by length
    together = lstm.translate(sources, Decoding(max_length=5))
    assert texts(together) == [
        texts(lstm.translate([source], Decoding(max_length=5)))[0] for source in sources
    ]
    pytest.importorskip("ctranslate2")
    with pytest.raises(
        UserError, match=r"checkpoint_last.pt is a lstm, and CTranslate2 has Transformers alone"
    ):
        load_translator(str(tmp_path / "checkpoint_last.pt"), ModelChoice(()), via="ctranslate2")


def test_ctranslate2_may_be_missing(student, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ctranslate2", None)
    with pytest.raises(
        UserError, match=r"CTranslate2 is not installed; run: pip install 'cmlm-kd\[ctranslate2\]'"
    ):
        load_translator(str(student), ModelChoice(()), via="ctranslate2")


def test_older_checkpoints_keep_their_settings_elsewhere(student, tmp_path):
    def older(state):
        settings = {**vars(state["cfg"]["model"]), **state["cfg"]["task"], "task": "translation"}
        state["args"], state["cfg"] = Namespace(**settings), None

    old = load_ensemble([changed(student, tmp_path, older)])
    assert old.languages == ("de", "en")
