"""cmlm-kd tune on a recipe whose training is a line of bash."""

import contextlib
import json
import re
import sys

import optuna
import pytest
from tiny_recipes import TinyRecipe

from cmlm_kd.cli import main
from cmlm_kd.recipes.study import PURPOSE, Study

# The loss of alpha 0.4 and temperature 2 is the lowest, from the first rung on, and all fall with updates.
RECIPE = """
name: tiny
output: unused
settings:
  given: {default: null, type: path}
  alpha: {default: 0.5, type: number, min: 0, max: 1}
  temperature: {default: 1, type: int, above: 0}
  text: {default: one}
  updates: {default: null, type: int, above: 0}
values:
  whole: 90
steps:
  data:
    title: Make the data
    inputs: ["{{ given }}"]
    run: echo data >> {{ run }}/calls; echo {{ text }} > {{ run }}/data
    outputs: [data]
  student:
    title: Train
    values: {folder: student, most: "{{ whole }}"}
    inputs: [data]
    run:
      - mkdir -p {{ run }}/{{ folder }}
      - echo {{ folder }}@{{ updates or most }} >> {{ run }}/calls
      - touch {{ run }}/{{ folder }}/checkpoint_last.pt
      - test ! -e {{ run }}/break || exit 3
      - >-
        awk -v a={{ alpha }} -v t={{ temperature }} -v n={{ updates or most }}
        'BEGIN {loss = (a - 0.4)^2 + (t - 2)^2 + 90 / n;
        print "epoch 1 | valid on '"'valid'"' subset | nll_loss " loss " | num_updates " n}'
        >> {{ run }}/{{ folder }}/train.log
    outputs: ["{{ folder }}"]
  report:
    title: The end
    inputs: [student]
    run: echo report >> {{ run }}/calls; touch {{ run }}/report
    outputs: [report]
"""


@pytest.fixture
def recipe(tmp_path):
    return TinyRecipe(tmp_path, RECIPE)


def tune(recipe, *flags, budget=1000, vary=("alpha=0.1,0.4,0.9", "temperature=1,2"), step="student"):
    arguments = ["tune", str(recipe.file), "--step", step, "--output", str(recipe.run_folder)]
    arguments += ["--vary", *vary, "--budget", str(budget), "--set", f"given={recipe.given}"]
    return main([*arguments, *map(str, flags)])


def rows(recipe):
    return [line.split("\t") for line in recipe.read("tune/trials.tsv").splitlines()]


def test_the_best_is_found_and_data_are_made_once(recipe, capsys):
    assert tune(recipe) == 0
    printed = capsys.readouterr().out
    calls = recipe.calls()
    assert calls.count("data") == 1 and "report" not in calls
    heads, *trials = rows(recipe)
    assert heads == ["trial", "alpha", "temperature", "after 10", "after 30", "after 90", "updates", "state"]
    assert len({tuple(trial[1:3]) for trial in trials}) == 6
    (best,) = [trial for trial in trials if trial[1:3] == ["0.4", "2"]]
    assert best[3:] == ["9", "3", "1", "90", "complete"]
    assert {trial[-1] for trial in trials} == {"complete", "pruned"}
    spent = sum(int(trial[-2]) for trial in trials)
    assert f"spent {spent} of 1,000 updates" in printed and "--set alpha=0.4 temperature=2" in printed
    assert re.search(r"best after 90 updates: nll_loss 1, .*/trial-00\d/train\.log", printed)
    assert len(list(recipe.run_folder.glob("tune/trial-*/checkpoint_last.pt"))) == sum(
        trial[-1] == "complete" for trial in trials
    )


def test_a_trial_that_the_budget_stopped_may_be_the_best(recipe, capsys):
    assert tune(recipe, "--seed", 2, budget=125, vary=("temperature=2,5",)) == 0
    assert [row[1:] for row in rows(recipe)[1:]] == [
        ["5", "18.01", "12.01", "10.01", "90", "complete"],
        ["2", "9.01", "3.01", "", "30", "running"],
    ]
    printed = capsys.readouterr().out
    assert "best after 30 updates: nll_loss 3.01" in printed and printed.endswith("--set temperature=2\n")


def test_an_interrupted_search_goes_on_and_a_finished_one_runs_nothing(recipe, capsys):
    (recipe.run_folder).mkdir()
    assert tune(recipe, budget=100) == 0
    assert "spent" in capsys.readouterr().out
    recipe.run_folder.joinpath("break").touch()
    first = recipe.calls()
    assert tune(recipe) == 2
    error = capsys.readouterr().err
    assert re.search(r"trial \d \(alpha=.* temperature=.*\) failed with status 3; .* goes on", error)
    recipe.run_folder.joinpath("break").unlink()
    recipe.calls()
    assert tune(recipe) == 0
    whole = capsys.readouterr().out
    assert "data" not in recipe.calls() and "data" in first
    assert tune(recipe) == 0
    again = capsys.readouterr().out
    assert recipe.calls() == [] and "0 of them and 0 s in this call" in again
    assert whole.splitlines()[-1] == again.splitlines()[-1]


def test_the_order_of_calls_changes_nothing(tmp_path):
    tables = []
    for name, budgets in (("whole", (300,)), ("parts", (40, 130, 300))):
        (tmp_path / name).mkdir()
        recipe = TinyRecipe(tmp_path / name, RECIPE)
        for budget in budgets:
            assert tune(recipe, budget=budget, vary=("alpha=0.1..0.9", "temperature=1,2,3")) == 0
        tables.append(rows(recipe))
    assert tables[0] == tables[1]
    assert sum(int(row[-2]) for row in tables[0][1:]) <= 300


def test_more_may_be_better(recipe, capsys):
    assert tune(recipe, "--maximize", "--rungs", 1, budget=600) == 0
    assert "alpha=0.9 temperature=1" in capsys.readouterr().out
    assert rows(recipe)[0][3:] == ["after 90", "updates", "state"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"budget": 19}, r"--budget is 19 updates, but two trials on the first rung take 20 .*more --rungs"),
        ({"vary": ("alpha=0.5",)}, "a single combination"),
        ({"vary": ("alpha=0.5,2",)}, "--vary alpha: '2'; it must be a number at least 0 and at most 1"),
        ({"vary": ("alpha=0.5..0.1",)}, "the range is empty"),
        ({"vary": ("temperature=1..9",)}, "list its values with commas"),
        ({"vary": ("beta=1,2",)}, "has no setting 'beta'; it has given, alpha"),
        ({"vary": ("alpha",)}, "give KEY=VALUE,VALUE"),
        ({"vary": ("alpha=0.1,0.2", "alpha=0.3,0.4")}, "is there twice"),
        ({"vary": ("alpha=0.1,0.2", "text=a,b")}, "--vary text changes step data, whose outputs all"),
        ({"step": "data"}, r"step data cannot be tuned: .*missing: folder, most"),
        ({"step": "nothing"}, "has no step 'nothing'; it has data, student, report"),
        ({"flags": ("--rungs", 6)}, "leave the first rung no update of 90"),
        ({"flags": ("--factor", 1)}, "--factor is 1; it must be from 2 to 10"),
        ({"flags": ("--set", "updates=5")}, "does not end after 'most' updates .* leave out --set updates"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_before_anything_runs(recipe, capsys, given, message):
    flags = given.pop("flags", ())
    assert tune(recipe, *flags, **given) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert error.count("\n") == 1 and not recipe.run_folder.exists()


def test_a_setting_that_changes_nothing_is_refused(recipe, capsys):
    recipe.write(RECIPE.replace("{{ text }} >", "text >"))
    assert tune(recipe, vary=("alpha=0.1,0.2", "text=a,b")) == 2
    assert "--vary text changes nothing of step student" in capsys.readouterr().err


def test_another_search_in_the_same_folder_is_refused(recipe, capsys):
    assert tune(recipe, budget=50) == 0
    assert tune(recipe, budget=50, vary=("alpha=0.2,0.3",)) == 2
    assert "is of another search" in capsys.readouterr().err
    assert tune(recipe, "--maximize", budget=50) == 2
    assert "is of another search" in capsys.readouterr().err


class Killed(BaseException):
    """What a kill is to the code that it ends."""


@contextlib.contextmanager
def killed_at(monkeypatch, owner, method, calls):
    """In the body a method ends everything when it is called once more than so many times."""
    real, made = getattr(owner, method), []

    def killed(itself, *given, **named):
        if len(made) == calls:
            raise Killed
        made.append(given)
        return real(itself, *given, **named)

    with monkeypatch.context() as patched:
        patched.setattr(owner, method, killed)
        with pytest.raises(Killed):
            yield


@pytest.mark.parametrize(
    ("method", "calls"), [("set_user_attr", 0), ("enqueue_trial", 0), ("enqueue_trial", 3)]
)
def test_a_search_that_was_killed_when_it_began_is_whole_afterwards(
    recipe, capsys, monkeypatch, method, calls
):
    """Between the study and its settings, or before all combinations are in it."""
    with killed_at(monkeypatch, optuna.Study, method, calls):
        tune(recipe)
    assert tune(recipe) == 0
    assert len({tuple(trial[1:3]) for trial in rows(recipe)[1:]}) == 6
    assert tune(recipe) == 0
    assert "0 of them and 0 s in this call" in capsys.readouterr().out


@pytest.mark.parametrize("combinations", [0, 2])
@pytest.mark.parametrize("settings", [False, True])
def test_what_a_killed_search_of_an_earlier_version_left_is_begun_anew(recipe, combinations, settings):
    assert tune(recipe, budget=50) == 0
    journal = recipe.run_folder / "tune" / "study.journal"
    lines = journal.read_text().splitlines(keepends=True)
    created = [line for line in lines if json.loads(line)["op_code"] == 0][:1]
    purpose = [line for line in lines if PURPOSE in json.loads(line).get("user_attr", {})]
    waiting = [line for line in lines if json.loads(line)["op_code"] == 4]
    assert len(created) == len(purpose) == 1 and len(waiting) == 6
    journal.write_text("".join([*created, *purpose * settings, *waiting[:combinations]]))
    assert tune(recipe) == 0
    assert len({tuple(trial[1:3]) for trial in rows(recipe)[1:]}) == 6


@pytest.mark.parametrize(
    ("owner", "method", "calls", "vary"),
    [
        (optuna.Trial, "suggest_categorical", 0, ("alpha=0.1,0.4,0.9", "temperature=1,2")),
        (optuna.Trial, "suggest_categorical", 3, ("alpha=0.1,0.4,0.9", "temperature=1,2")),
        (optuna.Trial, "suggest_float", 0, ("alpha=0.1..0.9", "temperature=1,2")),
        (optuna.Trial, "suggest_float", 2, ("alpha=0.1..0.9", "temperature=1,2")),
        (optuna.Study, "tell", 0, ("alpha=0.1,0.4,0.9", "temperature=1,2")),  # of the first trial's end
        (optuna.Trial, "should_prune", 4, ("alpha=0.1,0.4,0.9", "temperature=1,2")),  # of one that is pruned
    ],
)  # fmt: skip
def test_a_trial_that_was_killed_between_two_notes_of_it_goes_on_as_if_nothing_had_been(
    tmp_path, monkeypatch, owner, method, calls, vary
):
    """Between beginning and having all its values, or between a value of validation and what follows."""
    tables = []
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        recipe = TinyRecipe(tmp_path / name, RECIPE)
        if name == "killed":
            with killed_at(monkeypatch, owner, method, calls):
                tune(recipe, budget=300, vary=vary)
        asked = []

        def next_trial(study, real=Study.next_trial, asked=asked):
            asked.append(study)
            assert len(asked) < 50, "the same trial again and again"
            return real(study)

        with monkeypatch.context() as patched:
            patched.setattr(Study, "next_trial", next_trial)
            assert tune(recipe, budget=300, vary=vary) == 0
        tables.append(rows(recipe))
    assert tables[0] == tables[1]


def test_a_metric_that_validation_lacks_is_named(recipe, capsys):
    assert tune(recipe, "--metric", "bleu") == 2
    assert "no validation has 'bleu'; there are nll_loss" in capsys.readouterr().err


def test_without_optuna_it_says_what_to_install(recipe, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert tune(recipe) == 2
    assert "pip install 'cmlm-kd[tune]'" in capsys.readouterr().err
    assert recipe.calls() == []
