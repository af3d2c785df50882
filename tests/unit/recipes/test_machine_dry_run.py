"""``--dry-run``: the commands of a run, which do the same when they are pasted into a shell."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from documentation import REPOSITORY
from tiny_recipes import CHAIN, HEAD, TinyRecipe

from cmlm_kd.cli import main
from cmlm_kd.recipes import machine

EXAMPLES = REPOSITORY / "examples"


def test_pasted_commands_do_what_the_run_does(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = TinyRecipe(tmp_path, CHAIN.replace("/a", "/'sub dir'/a").replace("[a]", '["sub dir/a"]'))
    assert recipe.run("--dry-run", word="two words") == 0
    printed = capsys.readouterr().out
    assert not recipe.run_folder.exists() and "# second: Make b\n" in printed
    subprocess.run(["bash"], input=printed, text=True, check=True, env={"PATH": os.defpath})
    pasted = {name: recipe.read(name) for name in ("sub dir/a", "b/word", "c")}
    shutil.rmtree(recipe.run_folder)
    assert recipe.run(word="two words") == 0
    assert pasted == {name: recipe.read(name) for name in pasted} and pasted["b/word"] == "two words\n"


@pytest.fixture
def given(tmp_path, monkeypatch):
    """A folder with what the examples ask for, empty."""
    monkeypatch.chdir(tmp_path)
    for name in ("glue/SST-2", "glue/RTE", "text", "bert", "teacher", "captions"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("text/train.txt", "text/valid.txt", "text/packages.txt", "de-en.tgz"):
        (tmp_path / name).touch()
    pairs = {"train": "vi de", "tst2012": "vi", "tst2013": "vi", "newstest2013": "de", "newstest2014": "de"}
    for name, languages in pairs.items():
        for language in ("en", *languages.split()):
            (tmp_path / "text" / f"{name}.{language}").touch()
    for name in ("train.article", "train.title", "valid.article.filter", "valid.title.filter"):
        (tmp_path / "text" / f"{name}.txt").touch()
    return tmp_path


RECIPES = {
    "translation/numbers.yaml": ["student=lstm", "beliefs=alone", "seeds=1,2"],
    "translation/numbers_pairs.yaml": ["student=lstm"],
    "translation/sequence_level.yaml": ["pick=mbr-chrf", "hypotheses=4"],
    "translation/small_and_fast.yaml": ["shortlist=20", "beam=4"],
    "translation/selective.yaml": ["selection=batch", "share=0.3"],
    "translation/hidden_state.yaml": ["hidden=0.1", "decoder_map=last"],
    "translation/tie.yaml": ["topk=3", "iterations=2"],
    "translation/multi30k.yaml": ["teacher=bert", "data_dir=captions"],
    "translation/captions.yaml": [
        "data_dir=captions",
        "pairs=3000",
        "students=transformer,lstm",
        "seeds=1,2",
        "also=k-1,random",
    ],
    "translation/titles.yaml": ["index=text/packages.txt", "titled=500", "seeds=1,2"],
    "translation/iwslt14.yaml": ["data_dir=.", "teacher=bert", "flags=--fp16"],
    "translation/iwslt15.yaml": ["data_dir=text", "teacher=bert"],
    "translation/wmt14.yaml": ["data_dir=text", "teacher=bert"],
    "translation/gigaword.yaml": ["data_dir=text", "teacher=bert"],
    "classification/students.yaml": ["corpora=SST-2,RTE", "data=glue", "bert=bert"],
    "classification/fastbert.yaml": ["corpora=SST-2,RTE", "data=glue", "bert=bert"],
    "classification/pkd_grid.yaml": ["data=glue/RTE", "corpus=RTE", "teacher=teacher", "bert=bert"],
    "classification/mtdnn.yaml": ["data=glue", "corpora=SST-2,RTE", "taught=RTE", "bert=bert"],
    "pretraining/pretraining.yaml": ["text=text", "bert=bert", "data=glue", "corpora=SST-2,RTE"],
}


def test_pasted_commands_find_the_programs_of_this_environment(tmp_path, capsys):
    recipe = TinyRecipe(
        tmp_path,
        f"{HEAD}\nsteps: {{x: {{title: X, run: 'command -v python > {{{{ run }}}}/x', outputs: [x]}}}}\n",
    )
    assert recipe.run("--dry-run") == 0
    printed = capsys.readouterr().out
    subprocess.run(["bash"], input=printed, text=True, check=True, env={"PATH": os.defpath})
    assert recipe.read("x") == f"{Path(sys.executable).parent}/python\n"


def test_every_recipe_is_here():
    named = {
        str(path.relative_to(EXAMPLES))
        for path in EXAMPLES.rglob("*.yaml")
        if path.read_text().startswith("#")
        and any(f"\n{key}:" in path.read_text() for key in ("steps", "include"))
        and "\noutput:" in path.read_text()
    }
    assert named == set(RECIPES)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_examples_are_recipes(given, recipe, capsys):
    assert main(["run", str(EXAMPLES / recipe), "--dry-run", "--set", *RECIPES[recipe]]) == 0
    printed = capsys.readouterr().out
    subprocess.run(["bash", "-n"], input=printed, text=True, check=True)
    assert "{{" not in printed and "fairseq-train" in printed
    assert sorted(os.listdir(given)) == sorted(["glue", "text", "bert", "teacher", "captions", "de-en.tgz"])


@pytest.mark.parametrize("recipe", ["classification/pkd_grid.yaml", "classification/mtdnn.yaml"])
@pytest.mark.parametrize("gpu", [True, False])
def test_trainings_do_not_share_a_gpu(given, monkeypatch, capsys, recipe, gpu):
    """Nor in these recipes, which have no flags that depend on it."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: range(4))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    command = ["run", str(EXAMPLES / recipe), "--dry-run", "--set", *RECIPES[recipe]]
    assert main(command) == 0
    assert ("export OMP_NUM_THREADS=2\n" in capsys.readouterr().out) is not gpu
    assert main([*command, "--lanes", "4"]) == 0
    assert "export OMP_NUM_THREADS=1\n" in capsys.readouterr().out


def test_torch_is_imported_only_for_trainings(tmp_path):
    recipe = TinyRecipe(tmp_path)
    code = (
        "import sys; from cmlm_kd.cli import main; "
        f"main(['run', {str(recipe.file)!r}, '--dry-run', '--set', 'given={recipe.given}']); "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)


def test_the_scripts_are_short():
    lines = sum(len(path.read_text().splitlines()) for path in EXAMPLES.rglob("*.sh"))
    assert lines <= 120


@pytest.fixture
def scripts(tmp_path):
    """Call a script of the examples; a stand-in for set-up and for cmlm-kd prints its arguments."""
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    for name, text in (
        ("scripts/setup.sh", ""),
        (".venv/bin/cmlm-kd", "#!/bin/bash\nprintf '[%s]' \"$@\"\n"),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
        path.chmod(0o755)

    def call(name, *arguments):
        script = tmp_path / "examples" / name
        return subprocess.run(["bash", script, *arguments], capture_output=True, text=True, check=False)

    return call


@pytest.mark.parametrize(
    ("script", "arguments", "recipe", "passed"),
    [
        ("translation/run.sh", [], "numbers", ""),
        (
            "translation/run.sh",
            ["--student", "lstm", "--data", "multi30k", "--teacher", "a b"],
            "multi30k",
            "[--set][student=lstm][--set][teacher=a b]",
        ),
        (
            "translation/iwslt14.sh",
            ["--data-dir", "d", "--output", "o", "--", "--fp16", "--lr", "1"],
            "iwslt14",
            "[--set][data_dir=d][--output][o][--set][flags=--fp16 --lr 1]",
        ),
        (
            "classification/run.sh",
            ["--method", "all", "--corpus", "RTE", "--settings", "--lr 1;--lr 2", "--dry-run"],
            "students",
            "[--set][corpora=RTE][--set][settings=--lr 1;--lr 2][--dry-run]",
        ),
        ("classification/fastbert.sh", ["--until", "split"], "fastbert", "[--until][split]"),
        (
            "classification/fastbert.sh",
            ["--lanes", "1", "--set", "a=1", "b=x y", "--set", "c=3", "--bert", "b"],
            "fastbert",
            "[--lanes][1][--set][a=1][b=x y][--set][c=3][--set][bert=b]",
        ),
        (
            "pretraining/run.sh",
            ["--method", "tinybert", "--name", "n", "--max-tokens", "9"],
            "pretraining",
            "[--set][methods=tinybert][--set][student_name=n][--set][max_tokens=9]",
        ),
    ],
)
def test_the_scripts_pass_their_options_on(scripts, script, arguments, recipe, passed):
    done = scripts(script, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("[run][") and done.stdout.endswith(passed)
    assert Path(done.stdout.split("]")[1][1:]).resolve().name == f"{recipe}.yaml"


def test_options_that_the_scripts_refuse(scripts):
    for arguments, message in (
        (["--data", "wmt"], "run.sh: --data is 'wmt'; it must be numbers or multi30k"),
        (["--output"], "run.sh: --output needs a value"),
        (["more"], "run.sh: unknown option more; see --help"),
    ):
        done = scripts("translation/run.sh", *arguments)
        assert done.returncode == 2 and message in done.stderr and not done.stdout
    assert "cmlm-kd run examples/translation/numbers.yaml" in scripts("translation/run.sh", "--help").stdout
