"""A step runs again when what it is made from changed, and so does all that follows; nothing else does."""

import os

import pytest
import yaml
from tiny_recipes import CHAIN, HEAD, TinyRecipe

from cmlm_kd.recipes import run_folder

ALL = ["first", "second", "third"]


@pytest.fixture
def recipe(tmp_path):
    made = TinyRecipe(tmp_path)
    assert made.run() == 0 and made.calls() == ALL
    assert made.read("c") == "text\none\n"
    return made


def test_nothing_runs_twice(recipe, capsys):
    capsys.readouterr()
    assert recipe.run() == 0 and recipe.calls() == []
    assert capsys.readouterr().out.count(": already there") == 3


def test_a_changed_input_and_what_follows(recipe):
    recipe.given.write_text("other\n")
    assert recipe.run() == 0 and recipe.calls() == ALL
    assert recipe.read("c") == "other\none\n"


def test_a_touched_input_is_no_changed_input(recipe):
    os.utime(recipe.given, ns=(1, 1))
    assert recipe.run() == 0 and recipe.calls() == []


def test_a_changed_command_and_what_follows(recipe, capsys):
    assert recipe.run(word="two") == 0 and recipe.calls() == ["second", "third"]
    assert recipe.read("c") == "text\ntwo\n"
    assert "again, it was made from something else; what was there is in" in capsys.readouterr().out
    assert recipe.read(".old/b/word") == "one\n"


def test_what_follows_the_same_output_does_not_run(recipe):
    recipe.write(CHAIN.replace("cat {{ given }} >", "cat  {{ given }}  >"))
    assert recipe.run() == 0 and recipe.calls() == ["first"]


def test_a_changed_version_and_what_follows(recipe, monkeypatch):
    monkeypatch.setattr(run_folder, "__version__", "99")
    assert recipe.run() == 0 and recipe.calls() == ALL


@pytest.mark.parametrize(("build", "again"), [("ve-fairseq", []), ("fairseq-fixed", ALL)])
def test_whichever_build_of_fairseq_is_there_counts(tmp_path, monkeypatch, build, again):
    def install(distribution):
        monkeypatch.setattr(
            run_folder, "_installed_version", lambda name: {distribution: "0.12.3", "torch": "2"}.get(name)
        )

    made = TinyRecipe(tmp_path)
    install("ve-fairseq")
    assert made.run() == 0 and made.calls() == ALL
    install(build)
    assert made.run() == 0 and made.calls() == again
    versions = yaml.safe_load(made.read("recipe.yaml"))["versions"]
    assert list(versions) == ["cmlm-kd", "torch", "transformers", build] and versions[build] == "0.12.3"


@pytest.mark.parametrize("damage", ["cut off", "changed", "missing", "file missing"])
def test_a_damaged_output_is_made_again_and_stale_ones_too(recipe, damage, capsys):
    if damage == "cut off":
        (recipe.run_folder / "b" / "copy").write_text("")
    elif damage == "changed":
        (recipe.run_folder / "b" / "copy").write_text("TEXT\n")
    elif damage == "missing":
        os.rename(recipe.run_folder / "b", recipe.run_folder / "elsewhere")
    else:
        (recipe.run_folder / "b" / "copy").unlink()
    assert recipe.run() == 0 and recipe.calls() == ["second"]  # what comes of it is what there was
    assert recipe.read("c") == "text\none\n"
    assert ("again, it is damaged" in capsys.readouterr().out) == (damage != "missing")


def test_later_steps_may_add_to_an_output(recipe):
    (recipe.run_folder / "b" / "more").write_text("of a later step")
    assert recipe.run() == 0 and recipe.calls() == []


def test_downstream_is_never_stale(recipe):
    """A run of an early step alone, after which the later ones are older than what they were made from."""
    recipe.given.write_text("other\n")
    assert recipe.run("--until", "first") == 0 and recipe.calls() == ["first"]
    assert recipe.read("c") == "text\none\n"  # stale now
    assert recipe.run() == 0 and recipe.calls() == ["second", "third"]
    assert recipe.read("c") == "other\none\n"
    # A run that fails after the early step leaves nothing that passes for new, either.
    recipe.given.write_text("third\n")
    recipe.write(CHAIN.replace("cp {{ run }}/a", "false"))
    assert recipe.run() == 2 and recipe.calls() == ["first", "second"]
    recipe.write(CHAIN)
    assert recipe.run() == 0 and recipe.calls() == ["second", "third"]
    assert recipe.read("c") == "third\none\n"


def test_settings_that_matter_need_another_folder(recipe, capsys, tmp_path):
    other = tmp_path / "other"
    other.write_text("text\n")
    assert recipe.run(given=other) == 2
    error = capsys.readouterr().err
    assert f"holds a run with given={recipe.given}, not {other}; give another --output" in error
    recipe.write(CHAIN.replace("name: tiny", "name: small"))
    assert recipe.run() == 2 and "holds a run of the recipe tiny, not of small" in capsys.readouterr().err


def test_what_a_run_keeps(recipe):
    kept = yaml.safe_load(recipe.read("recipe.yaml"))
    assert kept["settings"] == {"word": "one", "given": str(recipe.given)}
    assert {"cmlm-kd", "torch", "transformers", "ve-fairseq"} <= set(kept["versions"])
    assert kept["steps"]["second"]["inputs"] == ["a"] and "echo one" in kept["steps"]["second"]["run"]
    assert [line.split("\t")[1] for line in recipe.read("times.txt").splitlines()] == [
        "Make a",
        "Make b",
        "Make c",
    ]


VARIANTS = (
    HEAD
    + """
steps:
  made:
    title: Make one
    run: echo {{ word }} >> {{ run }}/calls; touch {{ run }}/{{ word }}
    outputs: ["{{ word }}"]
"""
)


def test_other_settings_forget_nothing(tmp_path):
    """What several settings have made in one folder stays known, whichever ran last."""
    recipe = TinyRecipe(tmp_path, VARIANTS)
    for word in ("one", "two"):
        assert recipe.run(word=word) == 0 and recipe.calls() == [word]
    assert recipe.run(word="one") == 0 and recipe.calls() == []


TEMPORARY = (
    HEAD
    + """
steps:
  big:
    title: Make something big
    inputs: ["{{ given }}"]
    run: |-
      echo big >> {{ run }}/calls
      mkdir -p {{ run }}/big
      cp {{ given }} {{ run }}/big/file
      touch {{ run }}/big/log
    outputs: [big]
    temporary: [big/file]
  small:
    title: Make something small of it
    inputs: [big]
    run: |-
      echo small >> {{ run }}/calls
      { echo {{ word }}; cat {{ run }}/big/file; } > {{ run }}/small
    outputs: [small]
"""
)


def test_temporary_outputs_go_and_come_again_when_they_are_read(tmp_path, capsys):
    recipe = TinyRecipe(tmp_path, TEMPORARY)
    assert recipe.run() == 0 and recipe.calls() == ["big", "small"]
    folder = recipe.run_folder / "big"
    assert not (folder / "file").exists() and (folder / "log").exists()
    assert recipe.run() == 0 and recipe.calls() == []
    assert recipe.run(word="two") == 0 and recipe.calls() == ["big", "small"]
    assert recipe.read("small") == "two\ntext\n" and not (folder / "file").exists()
    removed = "again, a temporary output of it was removed and is needed again; what was there is in"
    assert f"Make something big: {removed}" in (printed := capsys.readouterr().out)
    assert "damaged" not in printed
    (folder / "log").write_text("damaged")
    assert recipe.run(word="two") == 0 and recipe.calls() == ["big"]
    assert "Make something big: again, it is damaged" in capsys.readouterr().out


def test_temporary_outputs_are_not_made_again_for_steps_that_are_left_out(tmp_path):
    recipe = TinyRecipe(tmp_path, TEMPORARY)
    assert recipe.run() == 0 and recipe.calls() == ["big", "small"]
    assert recipe.run("--until", "big", word="two") == 0 and recipe.calls() == []
