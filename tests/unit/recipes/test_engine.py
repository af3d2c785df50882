"""A step runs again when what it is made from changed, and so does all that follows; nothing else does."""

import json
import os
import shutil

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


def test_other_files_in_a_temporary_output_stay(tmp_path):
    text = TEMPORARY.replace("temporary: [big/file]", "temporary: [big]")
    recipe = TinyRecipe(tmp_path, text)
    assert recipe.run("--until", "big") == 0 and recipe.calls() == ["big"]
    notes = recipe.run_folder / "big" / "notes"
    notes.write_text("mine")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "file").write_text("mine")
    (recipe.run_folder / "big" / "link").symlink_to(tmp_path / "linked")
    assert recipe.run() == 0 and recipe.calls() == ["small"]
    assert notes.read_text() == "mine" and not notes.with_name("file").exists()
    assert (tmp_path / "linked" / "file").read_text() == "mine"
    assert recipe.run() == 0 and recipe.calls() == []
    assert recipe.run(word="two") == 0 and recipe.calls() == ["big", "small"]
    assert recipe.read("small") == "two\ntext\n" and recipe.read(".old/big/notes") == "mine"
    assert not (recipe.run_folder / "big").exists()


@pytest.mark.parametrize("place", ["a", "b/notes", "c.parts/notes"])
def test_what_no_step_has_made_is_refused_where_one_writes(tmp_path, capsys, place):
    recipe = TinyRecipe(tmp_path)
    foreign = recipe.run_folder / place
    foreign.parent.mkdir(parents=True)
    foreign.write_text("mine")
    for word in ("one", "two"):
        assert recipe.run(word=word) == 2 and recipe.calls() == []
        error = capsys.readouterr().err
        assert (
            f"{foreign} is in the way: step " in error and "move it away, or give another --output" in error
        )
        assert foreign.read_text() == "mine"
    os.rename(foreign, tmp_path / "mine")
    assert recipe.run() == 0 and recipe.calls() == ALL


def test_other_files_in_an_output_outlast_what_is_made_again(recipe, capsys):
    (recipe.run_folder / "b" / "notes").write_text("mine")
    for word in ("two", "three", "four"):
        assert recipe.run(word=word) == 0 and recipe.calls() == ["second", "third"]
    assert recipe.read(".old/b/notes") == "mine" and recipe.read(".old/b/word") == "one\n"
    assert recipe.read(".old.1/b/word") == "three\n"  # the last of those that are all of the run
    assert f"what was there is in {recipe.run_folder}/.old/b" in capsys.readouterr().out


def test_what_is_in_old_already_is_kept_if_no_record_names_it(recipe):
    shutil.rmtree(recipe.run_folder)
    (recipe.run_folder / ".old" / "b").mkdir(parents=True)
    (recipe.run_folder / ".old" / "b" / "word").write_text("mine")
    for word in ("one", "two", "three"):
        assert recipe.run(word=word) == 0
    assert recipe.read(".old/b/word") == "mine" and recipe.read(".old.1/b/word") == "two\n"


def test_the_outputs_of_a_folder_that_was_moved_are_the_runs(recipe, capsys):
    os.rename(recipe.run_folder, recipe.run_folder.with_name("moved"))
    recipe.run_folder = recipe.run_folder.with_name("moved")
    assert recipe.run() == 0 and recipe.calls() == ALL
    assert recipe.read(".old/b/word") == "one\n" and not (recipe.run_folder / ".old.1").exists()


def test_a_step_that_fails_before_it_begins_keeps_its_record(recipe, capsys):
    (recipe.run_folder / ".old").write_text("in the way")
    assert recipe.run(word="two") == 2 and recipe.calls() == []
    assert str(recipe.run_folder / ".old") in capsys.readouterr().err
    (recipe.run_folder / ".old").unlink()
    assert recipe.run(word="two") == 0 and recipe.calls() == ["second", "third"]


DAMAGES = [
    "[]",
    "7",
    "{}",
    '{"_values_',
    "[" * 99_999,
    '{"_values_:": 3}',
    '{"_values_:": {"a": 3}}',
    *({"inputs": value} for value in ([], None, {"x": 3})),
    *({"outputs": value} for value in (None, {"x": {"": [1, 2]}}, {"x": {"": ["1", 2, "3"]}})),
    {"command": 3},
    {"versions": {"torch": 2}},
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: str(damage)[:30])
def test_a_damaged_record_counts_as_none(recipe, capsys, damage):
    file = recipe.run_folder / ".steps" / "b.json"
    if isinstance(damage, dict):
        record = json.loads(file.read_text())
        record["_values_:"].update(damage)
        damage = json.dumps(record)
    file.write_text(damage)
    assert recipe.run() == 0 and recipe.calls() == ["second"]
    printed = capsys.readouterr().out
    assert f"again, its record {file} is damaged; what was there is in {recipe.run_folder}/.old/b" in printed
    for word in ("two", "three", "four"):  # nothing says any more whose that was
        assert recipe.run(word=word) == 0 and recipe.calls() == ["second", "third"]
    assert recipe.read(".old/b/word") == "one\n" and recipe.read(".old.1/b/word") == "three\n"


@pytest.mark.parametrize("damage", ["[]", "7", "{", "[" * 99_999])
def test_a_damaged_note_of_a_beginning_goes_on_in_nothing(tmp_path, damage, capsys):
    text = CHAIN.replace("outputs: [b]", "outputs: [b]\n    resumes: always")
    recipe = TinyRecipe(
        tmp_path, text.replace("echo {{ word }} >", "[ {{ word }} = two ]; echo {{ word }} >")
    )
    assert recipe.run() == 2 and recipe.calls() == ["first", "second"]
    (recipe.run_folder / ".steps" / "b.begun").write_text(damage)
    assert recipe.run(word="two") == 0 and recipe.calls() == ["second", "third"]
    assert "goes on in what is there" not in capsys.readouterr().out
