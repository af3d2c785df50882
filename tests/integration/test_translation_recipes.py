"""The translation recipes from their first step to their last, with two updates a training.

Only the text and its tokenizer are smaller than a user's.
"""

import gzip
import json
import os
import shutil

import pytest
import yaml
from documentation import REPOSITORY
from tiny_recipes import run_recipe
from tiny_teacher import write_bert

from cmlm_kd.cli import main
from cmlm_kd.data.numbers import CorpusSizes, build_corpus
from cmlm_kd.data.translation.multi30k import MULTI30K_SHA256
from cmlm_kd.fairseq_files.checkpoints import number_of_updates, read_checkpoint, settings_of

EXAMPLES = REPOSITORY / "examples" / "translation"
STUDENTS = ("alone", "distilled")
WITH_SYNTHETIC = (*STUDENTS, "back-translated")
# The report's page with soft targets asks all students; one recipe does that, and the others save its time.
WITHOUT_STORE = "flags: {page: '--html {{ run }}/{{ folder }}/report.html'}\n"
SMALL_PAIRS = f"""
name: numbers-pairs
output: unused
include: {EXAMPLES}/numbers_pairs.yaml
{WITHOUT_STORE}steps:
  corpus:
    title: Make a small corpus
    run: >-
      cmlm-kd numbers-corpus {{{{ run }}}}/corpus --pairs 60 --valid 8 --test 6 --monolingual 300
    outputs: [corpus]
  tokenizer:
    title: Train a small tokenizer
    inputs: [corpus]
    run: >-
      cmlm-kd train-tokenizer --vocab-size 300 --input {{{{ run }}}}/corpus/train.de
      {{{{ run }}}}/corpus/train.en {{{{ run }}}}/corpus/mono.en --output {{{{ run }}}}/tokenizer
    outputs: [tokenizer]
"""
# Two updates make no reverse model whose translations end.
SMALL_NUMBERS = f"""
name: numbers
output: unused
include: {EXAMPLES}/numbers.yaml
values: {{sentences: 40, members: "{{{{ [101] if beliefs == 'ensemble' else [] }}}}"}}
{SMALL_PAIRS[SMALL_PAIRS.index("steps:") :]}
  synthetic:
    title: Take the English for its translation
    inputs: [synthetic.en, reverse/checkpoint_best.pt]
    run: cp {{{{ run }}}}/synthetic.en {{{{ run }}}}/synthetic.de
    outputs: [synthetic.de]
"""
# Nor a teacher.
SMALL_SEQUENCE_LEVEL = f"""
name: small-and-fast
output: unused
include: {EXAMPLES}/small_and_fast.yaml
{WITHOUT_STORE}{SMALL_PAIRS[SMALL_PAIRS.index("steps:") :]}
  translations-of-teachers:
    title: Take the references for the teachers' translations
    inputs: [corpus, teacher-1/checkpoint_best.pt, teacher-2/checkpoint_best.pt]
    run: for side in de en; do cp {{{{ run }}}}/corpus/train.$side {{{{ run }}}}/translated.$side; done
    outputs: [translated.de, translated.en]
"""


def follow(recipe, output, *settings, students=STUDENTS):
    """Run the road twice, the second time over what is there already; returns the table and what follows."""
    first = run_recipe(recipe, output, *settings)
    assert first.returncode == 0, first.stdout[-1000:] + first.stderr[-3000:]
    checkpoints = [
        output / name / "checkpoint_last.pt"
        for name in ("teacher", *(f"{student}@1" for student in students))
    ]
    assert {number_of_updates(read_checkpoint(path)) for path in checkpoints} == {2}
    before = [path.stat().st_mtime_ns for path in checkpoints]
    second = run_recipe(recipe, output, *settings)
    assert second.returncode == 0, second.stderr[-3000:]
    assert [path.stat().st_mtime_ns for path in checkpoints] == before
    steps = [line for line in first.stdout.splitlines() if line.startswith("== ")]
    assert second.stdout.count(": already there") == len(steps) - 1  # the table has its title twice
    table = first.stdout[first.stdout.rindex("== The result\n") :]
    assert table == second.stdout[second.stdout.rindex("== The result\n") :]
    assert (output / "report" / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((output / "report" / "report.json").read_text())
    assert (output / "report" / "report.html").is_file()
    return table


@pytest.mark.parametrize(
    ("beliefs", "teachers"),
    [("ensemble", ["member-101"]), pytest.param("cmlm", ["teacher"], marks=pytest.mark.long)],
)
def test_the_embedded_corpus(tmp_path, beliefs, teachers):
    output = tmp_path / "run"
    shows_beliefs = beliefs == "ensemble"
    text = SMALL_NUMBERS if shows_beliefs else SMALL_NUMBERS.replace("steps:", f"{WITHOUT_STORE}steps:", 1)
    (tmp_path / "small.yaml").write_text(text)
    done = run_recipe(tmp_path / "small.yaml", output, f"beliefs={beliefs}")
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    table = done.stdout[done.stdout.rindex("== The result\n") :]
    for name in (*WITH_SYNTHETIC, "BLEU|nrefs:1", "kd:soft_target|k:8|T:1", "p = "):
        assert name in table
    checkpoints = [
        output / name / "checkpoint_last.pt"
        for name in ("reverse", *(f"{name}@1" for name in WITH_SYNTHETIC), *teachers)
    ]
    assert {number_of_updates(read_checkpoint(path)) for path in checkpoints} == {2}
    assert (output / "bert").exists() == (beliefs == "cmlm")
    assert (output / "soft-targets-train").exists() == (beliefs == "ensemble")
    settings = json.loads((output / "soft-targets-train1" / "manifest.json").read_text())["settings"]
    assert settings.get("teacher_kind", "").startswith("mean of ") == (beliefs == "ensemble")
    page = (output / "report" / "report.html").read_text(encoding="utf-8")
    assert ('id="speaker-data"' in page) == shows_beliefs and ("mean of 2: fairseq" in page) == shows_beliefs


@pytest.mark.long
def test_a_small_student_of_large_translators(tmp_path):
    output = tmp_path / "run"
    (tmp_path / "small.yaml").write_text(SMALL_SEQUENCE_LEVEL)
    done = run_recipe(tmp_path / "small.yaml", output, "rounds=1")
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    table = done.stdout[done.stdout.rindex("== The result\n") :]
    for name in ("alone     ", "translations ", "distilled ", "kd:soft_target|k:8|T:1"):
        assert name in table
    for name in ("MB on disk", "| teacher |", "| student |", "| int8 |", "| int8-shortlist |"):
        assert name in table[table.index("== Size, quality and speed") :]
    record = json.loads((output / "exported" / "int8-shortlist" / "export.json").read_text())
    assert record["quantization"] == "int8" and record["shortlist"] == 50
    small, large = (
        read_checkpoint(output / name / "checkpoint_last.pt") for name in ("distilled@1", "teacher-1")
    )
    assert number_of_updates(small) == number_of_updates(large) == 2
    width = "encoder.embed_tokens.weight"
    assert 2 * small["model"][width].shape[1] == large["model"][width].shape[1]


def write_captions(given):
    """Write a few sentences as if they were the captions, which have other checksums."""
    corpus = build_corpus(1, CorpusSizes(pairs=40, valid=6, test=6, monolingual=1)).parallel
    given.mkdir()
    for split, name in (("train", "train"), ("valid", "val"), ("test", "test_2016_flickr")):
        for side, language in enumerate(("de", "en")):
            text = "".join(f"{pair[side]}\n" for pair in corpus[split])
            assert f"{name}.{language}.gz" in MULTI30K_SHA256
            (given / f"{name}.{language}.gz").write_bytes(gzip.compress(text.encode()))
    return corpus


@pytest.mark.long  # the road is that of numbers.yaml
def test_captions_and_a_recurrent_student(tmp_path):
    output, given = tmp_path / "run", tmp_path / "captions"
    corpus = write_captions(given)
    (tmp_path / "small.yaml").write_text(
        f"name: multi30k\noutput: unused\ninclude: {EXAMPLES}/multi30k.yaml\n{WITHOUT_STORE}"
        "steps: {corpus: {title: Get the captions, inputs: ['{{ data_dir }}'],"
        " run: 'cp -r {{ data_dir }} {{ run }}/corpus', outputs: [corpus]}}\n"
    )
    teacher = write_bert(tmp_path / "bert", [text for pair in corpus["train"] for text in pair])
    settings = (f"teacher={teacher}", f"data_dir={given}", "student=lstm", "temperature=3", "alpha=0.25")
    table = follow(tmp_path / "small.yaml", output, *settings)
    assert all(name in table for name in STUDENTS) and "|T:3|" in table and "|alpha:0.25|" in table
    assert "decoder.fc_out.weight" in read_checkpoint(output / "distilled@1" / "checkpoint_best.pt")["model"]


SMALL_CAPTIONS = f"""
name: captions
output: unused
include: {EXAMPLES}/captions.yaml
{WITHOUT_STORE}steps:
  captions:
    title: Get the captions
    inputs: ["{{{{ data_dir }}}}"]
    run: cp -r {{{{ data_dir }}}} {{{{ run }}}}/captions
    outputs: [captions]
  tokenizer:
    title: Train a small tokenizer
    inputs: [corpus, synthetic.en]
    run: >-
      cmlm-kd train-tokenizer --vocab-size 200 --input {{{{ run }}}}/corpus/train.de
      {{{{ run }}}}/corpus/train.en
      {{{{ run }}}}/synthetic.en --output {{{{ run }}}}/tokenizer
    outputs: [tokenizer]
{SMALL_NUMBERS[SMALL_NUMBERS.index("  synthetic:") :]}"""


@pytest.mark.long  # the road is that of numbers.yaml
def test_back_translated_captions(tmp_path):
    output, given = tmp_path / "run", tmp_path / "given"
    corpus = write_captions(given)
    (tmp_path / "small.yaml").write_text(SMALL_CAPTIONS)
    done = run_recipe(
        tmp_path / "small.yaml", output, f"data_dir={given}", "pairs=25", "seeds=1,2", "members=101"
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    for prefix, folder in (("", "report"), ("lstm-", "lstm-report")):  # a table for each architecture
        table = (output / folder / "report.txt").read_text()
        assert all(f"| {prefix}{name} " in table for name in WITH_SYNTHETIC)
        assert f"against {prefix}back-translated" in table and "kd:soft_target|k:64|T:1|alpha:0.9" in table
    student = settings_of(read_checkpoint(output / "lstm-distilled@2" / "checkpoint_last.pt"), "model")
    assert student["arch"] == "lstm" and student["dropout"] == 0.2
    pairs = (output / "corpus" / "train.de").read_text().splitlines()
    assert pairs == [german for german, _ in corpus["train"][:25]]
    assert (output / "synthetic.en").read_text().splitlines() == [
        english for _, english in corpus["train"][25:]
    ]


@pytest.mark.long
def test_what_carries_it(tmp_path):
    """Every variant of a student, in a run that had none of them at first."""
    output, given = tmp_path / "run", tmp_path / "given"
    write_captions(given)
    (tmp_path / "small.yaml").write_text(SMALL_CAPTIONS)
    shutil.copy(EXAMPLES / "controls.py", tmp_path)
    settings = (
        f"data_dir={given}",
        "pairs=25",
        "members=101",
        "english=9",
        "students=transformer",
        "seeds=1",
    )
    done = run_recipe(tmp_path / "small.yaml", output, *settings)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    before = {
        name: (output / name / "checkpoint_last.pt").stat().st_mtime for name in ("alone@1", "distilled@1")
    }
    names = yaml.safe_load((EXAMPLES / "captions.yaml").read_text())["settings"]["also"]["choices"]
    done = run_recipe(tmp_path / "small.yaml", output, *settings, f"also={','.join(names)}")
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    assert all(
        (output / name / "checkpoint_last.pt").stat().st_mtime == time for name, time in before.items()
    )
    table = (output / "report" / "report.txt").read_text()
    assert len(names) > 12 and all(f"| {name} " in table for name in ("distilled", *names))
    assert "|k:1|" in table and "|T:10|" in table and "|alpha:0.5" in table
    assert "kd:selective" in table and "kd:hidden_state" in table and "kd:tie" in table
    assert len((output / "synthetic.en").read_text().splitlines()) == 9


@pytest.fixture
def given(tmp_path, monkeypatch):
    """A folder that has what the recipes read."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "captions").mkdir()
    (tmp_path / "de-en.tgz").touch()
    return {
        "numbers": {},
        "multi30k": {"teacher": "hub/bert", "data_dir": "captions"},
        "iwslt14": {"teacher": "hub/bert", "data_dir": "."},
    }


def refusal(capsys, recipe, settings):
    """Return what is said of settings; nothing but that may happen."""
    words = [f"{name}={value}" for name, value in settings.items() if value is not None]
    command = ["run", str(EXAMPLES / f"{recipe}.yaml"), "--dry-run"]
    assert main([*command, "--set", *words] if words else command) == 2
    printed = capsys.readouterr()
    assert not printed.out and not os.path.exists("runs") and not os.path.exists("iwslt14")
    return printed.err


@pytest.mark.parametrize("recipe", ["numbers", "multi30k"])
@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("student", "gru", "student is 'gru'; it must be transformer or lstm"),
        ("seeds", "one", "seeds is 'one'; it must be a list with commas, each a whole number at least 0"),
        ("updates", "0", "updates is '0'; it must be a whole number above 0"),
        ("temperature", "0", "temperature is '0'; it must be a number above 0"),
        ("temperature", "hot", "temperature is 'hot'; it must be a number above 0"),
        ("alpha", "1.5", "alpha is '1.5'; it must be a number at least 0 and at most 1"),
        ("alpha", "-0.5", "alpha is '-0.5'; it must be a number at least 0 and at most 1"),
        ("epochs", "3", "has no setting 'epochs'"),
    ],
)
def test_refused_settings(given, capsys, recipe, setting, value, message):
    assert message in refusal(capsys, recipe, {**given[recipe], setting: value})


@pytest.mark.parametrize(
    ("recipe", "settings", "message"),
    [
        ("numbers", {"teacher": "bert"}, "has no setting 'teacher'"),
        ("multi30k", {"teacher": None}, "teacher is missing; give a directory or a model's name on a hub"),
        ("multi30k", {"data_dir": "nowhere"}, "nowhere, which no step makes and which does not exist"),
        ("iwslt14", {"teacher": None}, "teacher is missing; give a directory or a model's name on a hub"),
        ("iwslt14", {"data_dir": None}, "data_dir is missing; give a path"),
        ("iwslt14", {"data_dir": "captions"}, "de-en.tgz, which no step makes and which does not exist"),
        ("iwslt14", {"updates": "0"}, "updates is '0'; it must be a whole number above 0"),
        ("iwslt14", {"student": "lstm"}, "has no setting 'student'"),
    ],
)
def test_refused_settings_of_one_recipe(given, capsys, recipe, settings, message):
    assert message in refusal(capsys, recipe, {**given[recipe], **settings})
