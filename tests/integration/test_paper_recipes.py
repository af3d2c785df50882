"""The recipes of the paper's experiments, two updates a training, on a few sentences."""

import json

import pytest
from documentation import REPOSITORY
from iwslt14_archive import PAIRS, write_archive
from tiny_recipes import run_recipe
from tiny_teacher import write_bert

from cmlm_kd.fairseq_files.checkpoints import number_of_updates, read_checkpoint

EXAMPLES = REPOSITORY / "examples" / "translation"


def given_text(folder, recipe):
    """Write what a recipe of the paper reads; returns text of both sides for the tokenizer."""
    sources, targets = zip(*PAIRS[:40], strict=True)
    if recipe == "iwslt14":
        write_archive(folder)
    elif recipe == "gigaword":
        for split in ("train.{}", "valid.{}.filter"):
            for side, lines in (("article", sources), ("title", targets)):
                (folder / f"{split.format(side)}.txt").write_text("\n".join([*lines, ""]))
    else:
        target = {"iwslt15": "vi", "wmt14": "de"}[recipe]
        held_out = {"iwslt15": ("tst2012", "tst2013"), "wmt14": ("newstest2013", "newstest2014")}[recipe]
        for name, rows in zip(("train", *held_out), (slice(40), slice(6), slice(6, 12)), strict=True):
            for side, lines in (("en", sources), (target, targets)):
                (folder / f"{name}.{side}").write_text("\n".join([*lines[rows], ""]))
    return [sentence.lower() if recipe == "iwslt14" else sentence for pair in PAIRS for sentence in pair]


@pytest.mark.long
@pytest.mark.parametrize("recipe", ["wmt14", "gigaword"])
def test_experiments_of_the_paper(tmp_path, recipe):
    data = tmp_path / "data"
    data.mkdir()
    teacher = write_bert(tmp_path / "bert", given_text(data, recipe))
    file = EXAMPLES / f"{recipe}.yaml"
    if recipe == "gigaword":
        text = f"name: gigaword\noutput: unused\ninclude: {file}\nvalues: {{sampled: 8}}\n"
        file = tmp_path / "small.yaml"
        file.write_text(text)
    sizes = (("layers", 1), ("embed-dim", 16), ("ffn-embed-dim", 16), ("attention-heads", 2))
    tiny = " ".join(f"--{side}-{name} {size}" for side in ("encoder", "decoder") for name, size in sizes)
    settings = (f"data_dir={data}", f"teacher={teacher}", f"flags={tiny}")
    output = tmp_path / "out"
    done = run_recipe(file, output, *settings)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    table = done.stdout[done.stdout.rindex("== Score") :]
    assert "alone " in table and "distilled " in table
    assert {"wmt14": "case:mixed", "gigaword": "ROUGE"}[recipe] in table
    for training in ("teacher", "alone", "distilled"):
        state = read_checkpoint(output / training / "checkpoint_last.pt")
        assert number_of_updates(state) == 2
    begins_as_alone = "loading pretrained model from" in (output / "logs" / "distilled.log").read_text()
    assert begins_as_alone == (recipe == "wmt14")
    if recipe == "gigaword":
        valid, test = (
            (output / "raw" / f"{split}.title").read_text().split("\n") for split in ("valid", "test")
        )
        assert len(valid) == len(test) == 9 and not {*valid[:-1]} & {*test}


@pytest.mark.parametrize(("recipe", "languages"), [("iwslt14", ("de", "en")), ("iwslt15", ("en", "vi"))])
def test_text_of_the_experiments_whose_trainings_are_the_same(tmp_path, recipe, languages):
    data, output = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    teacher = write_bert(tmp_path / "bert", given_text(data, recipe))
    settings = (f"data_dir={data}", f"teacher={teacher}")
    done = run_recipe(EXAMPLES / f"{recipe}.yaml", output, *settings, flags=("--until", "data-bin"))
    assert done.returncode == 0, done.stderr[-4000:]
    manifest = json.loads((output / "data-bin" / "prepare.json").read_text())
    assert (manifest["source_language"], manifest["target_language"]) == languages
    test = (output / "data-bin" / "raw" / f"test.{languages[1]}").read_text()
    assert test == (test.lower() if recipe == "iwslt14" else (data / "tst2013.vi").read_text())
