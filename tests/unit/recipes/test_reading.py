"""Recipes that are wrong, and settings that are not allowed: refused before anything runs."""

import pytest
from tiny_recipes import CHAIN, HEAD, TinyRecipe

from cmlm_kd.cli import main

STEP = "title: X, run: touch x, outputs: [x]"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "is not a recipe: it must have name, output, settings and steps"),
        ("name: a\nname: b\n", "line 2: name is there twice"),
        ("name: [a\n", "line 2: "),
        ("name: a\n", "output is missing; see docs/recipes.md"),
        (HEAD, "steps is missing"),
        (HEAD + "stages: {}\n", "there is no 'stages'; a recipe has name, output, include, when"),
        (HEAD + "steps: [a]\n", "steps must be names with what they stand for"),
        (HEAD + "steps: {x: {title: X, run: a}}\n", "steps.x: outputs is missing; a step has a title"),
        (HEAD + f"steps: {{x: {{{STEP}, input: [y]}}}}\n", "steps.x: there is no 'input'; a step has title"),
        (HEAD + f"steps: {{x y: {{{STEP}}}}}\n", "steps.x y: a step's name has letters, digits"),
        (
            HEAD + f"steps: {{x: {{{STEP}, resumes: perhaps}}}}\n",
            "resumes is 'perhaps'; it must be unfinished",
        ),
        (HEAD + f"steps: {{x: {{{STEP}, exclusive: 3}}}}\n", "exclusive is 3; it must be true or false"),
        (HEAD + f"steps: {{x: {{{STEP}, for: {{a: 3}}}}}}\n", "steps.x.for.a is 3; it must be a list"),
        (HEAD + f"steps: {{x: {{{STEP}, after: [y]}}}}\n", "x comes after 'y', which is no step"),
        (HEAD + f"steps: {{x: {{{STEP}, temporary: [y]}}}}\n", "steps.x: y is none of its outputs"),
        (HEAD + "steps: {x: {title: X, run: a, outputs: [../x]}}\n", "x is not in the run's folder"),
        (HEAD + "steps: {x: {title: X, run: a, outputs: ['']}}\n", "outputs are all empty"),
        (HEAD + f"steps: {{x: {{{STEP}}}, y: {{{STEP}}}}}\n", "x is an output of two steps, x and y"),
        (HEAD + f"steps: {{x: {{{STEP}, inputs: [y]}}}}\n", "which no step makes and which does not exist"),
        (
            HEAD
            + f"steps: {{x: {{{STEP}, inputs: [y]}}, y: {{title: Y, run: a, inputs: [x], outputs: [y]}}}}\n",
            "steps wait for each other: ",
        ),
        (
            HEAD + "steps: {x: {title: X, run: 'a {{ wrd }}', outputs: [x]}}\n",
            "{{ wrd }}: 'wrd' is undefined",
        ),
        (HEAD + "steps: {x: {title: X, run: 'a {{ 1 / 0 }}', outputs: [x]}}\n", "division by zero"),
        (
            HEAD + f"values: {{a: '{{{{ a }}}}'}}\nsteps: {{x: {{{STEP}, when: '{{{{ a }}}}'}}}}\n",
            "a is computed",
        ),
        (HEAD + f"steps: {{x: {{{STEP}, when: false}}}}\n", "no step is left with these settings"),
        (
            HEAD + f"checks: [{{that: '{{{{ word == 1 }}}}', else: no}}]\nsteps: {{x: {{{STEP}}}}}\n",
            "tiny.yaml: ",
        ),
        (HEAD + "include: tiny.yaml\n", "includes itself; take it out of include"),
        (HEAD + "include: other.yaml\n", "other.yaml does not exist; give the path of a recipe"),
        (CHAIN.replace("word: {default", "word: {defualt"), "there is no 'defualt'; a setting has default"),
        (CHAIN.replace("type: path", "type: file"), "settings.given: type is 'file'; it must be one of"),
        (
            CHAIN.replace("{default: one,", "{default: yes,"),
            "settings.word: default is True; it must be a text",
        ),
        (
            CHAIN.replace("{default: one,", "{default: one, type: int,"),
            "settings.word: default is 'one'; it must be a whole number",
        ),
    ],
)
def test_refused_recipes(tmp_path, capsys, text, message):
    recipe = TinyRecipe(tmp_path, text)
    assert recipe.run() == 2
    error = capsys.readouterr().err
    assert message in error and str(tmp_path) in error and error.count("\n") == 1
    assert not recipe.run_folder.exists()


def test_no_recipe(tmp_path, capsys):
    assert main(["run", str(tmp_path)]) == 2
    assert "is a directory; give the path of a recipe" in capsys.readouterr().err
    (tmp_path / "latin").write_bytes(b"name: \xe4")
    assert main(["run", str(tmp_path / "latin")]) == 2
    assert "latin: not UTF-8" in capsys.readouterr().err


SETTINGS = """
name: tiny
output: unused
settings:
  text: plain
  choice: {default: a, choices: [a, b]}
  many: {default: [a], choices: [a, b], list: true}
  count: {default: 1, type: int, above: 0}
  share: {default: 0.5, type: number, min: 0, max: 1}
  seeds: {default: [1, 2], type: int, min: 0, list: true}
  open: {default: null, type: int}
  small: {default: a, pattern: "[a-z]+"}
  must: {required: true}
steps:
  x:
    title: X
    run: printf '%s\\n' {{ text }} {{ many }} {{ seeds }} {{ open }} {{ count + 1 }} {{ must }} > {{ run }}/x
    outputs: [x]
"""


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"choice": "c"}, "choice is 'c'; it must be a or b"),
        ({"many": "a,c"}, "many is 'a,c'; it must be a list of a or b, with commas"),
        ({"count": "0"}, "count is '0'; it must be a whole number above 0"),
        ({"count": "1.5"}, "count is '1.5'; it must be a whole number above 0"),
        ({"count": "true"}, "count is 'true'; it must be a whole number above 0"),
        ({"count": ""}, "count is ''; it must be a whole number above 0"),
        ({"share": "1.1"}, "share is '1.1'; it must be a number at least 0 and at most 1"),
        ({"share": "half"}, "share is 'half'; it must be a number at least 0"),
        ({"seeds": "1,,2"}, "seeds is '1,,2'; it must be a list with commas, each a whole number at least 0"),
        ({"small": "A"}, "small is 'A'; it must be a text that matches [a-z]+"),
        ({"must": ""}, "must is missing; give a text: --set must=..."),
        ({"epochs": "3"}, "has no setting 'epochs'; it has text, choice, many"),
    ],
)
def test_refused_settings(tmp_path, capsys, given, message):
    (tmp_path / "tiny.yaml").write_text(SETTINGS)
    settings = [f"{name}={value}" for name, value in {"must": "x", **given}.items()]
    output = tmp_path / "run"
    assert main(["run", str(tmp_path / "tiny.yaml"), "--output", str(output), "--set", *settings]) == 2
    error = capsys.readouterr().err
    assert message in error and not output.exists()


def test_settings_and_what_becomes_of_them(tmp_path, capsys):
    (tmp_path / "tiny.yaml").write_text(SETTINGS)
    command = ["run", str(tmp_path / "tiny.yaml"), "--output", str(tmp_path / "run"), "--set", "must"]
    assert main(command) == 2
    assert "--set must: give KEY=VALUE, such as --set seed=2" in capsys.readouterr().err
    command[-1:] = ["must=$(date); 'x'", "many=b,a", "--set", "text=two words", "seeds=7"]
    assert main(command) == 0
    assert (tmp_path / "run" / "x").read_text() == "two words\nb\na\n7\n2\n$(date); 'x'\n"


def test_no_such_step(tmp_path, capsys):
    recipe = TinyRecipe(tmp_path)
    assert recipe.run("--until", "fourth") == 2
    assert "there is no step 'fourth'; there are first, second, third" in capsys.readouterr().err


HUB = """
name: tiny
output: unused
settings:
  teacher: {type: model, required: true}
steps:
  last:
    title: Use it
    inputs: [teacher]
    run: cat {{ run }}/teacher > {{ run }}/last
    outputs: [last]
  teacher:
    title: Fine-tune it
    inputs: ["{{ teacher }}"]
    run: echo {{ teacher }} > {{ run }}/teacher
    outputs: [teacher]
    temporary: [teacher]
"""


def test_an_output_may_have_the_name_of_a_model_on_a_hub(tmp_path):
    (tmp_path / "tiny.yaml").write_text(HUB)
    command = [
        "run",
        str(tmp_path / "tiny.yaml"),
        "--output",
        str(tmp_path / "run"),
        "--set",
        "teacher=teacher",
    ]
    assert main(command) == 0
    assert (tmp_path / "run" / "last").read_text() == "teacher\n"
    assert not (tmp_path / "run" / "teacher").exists()


def test_an_including_recipe_has_the_last_word(tmp_path):
    recipe = TinyRecipe(tmp_path)
    (tmp_path / "base.yaml").write_text(CHAIN)
    recipe.write(
        "name: tiny\noutput: unused\ninclude: base.yaml\nsettings: {word: {default: mine}}\n"
        "steps: {first: {title: A, run: 'echo mine > {{ run }}/a', outputs: [a]}}\n"
    )
    assert recipe.run() == 0 and recipe.read("c") == "mine\nmine\n"


def test_the_condition_of_an_included_file_is_that_of_its_steps_without_one(tmp_path):
    recipe = TinyRecipe(tmp_path)
    (tmp_path / "base.yaml").write_text("when: \"{{ word == 'one' }}\"\n" + CHAIN)
    recipe.write(
        "name: tiny\noutput: unused\ninclude: base.yaml\nsteps:\n"
        "  second: {title: B, when: true, run: 'mkdir {{ run }}/b; echo own > {{ run }}/b/x', outputs: [b]}\n"
        "  fourth: {title: D, inputs: [b], run: 'cat {{ run }}/b/* > {{ run }}/d', outputs: [d]}\n"
    )
    assert recipe.run(word="two") == 0
    assert recipe.read("d") == "own\n" and recipe.calls() == []
    assert recipe.run(word="one") == 0 and recipe.calls() == ["first", "third"]
