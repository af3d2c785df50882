"""The recipes of selective_kd, hidden_state_kd and --init-from: what their trainings are told, fairseq knows.

The criteria themselves train in test_hidden_state_kd.py, test_init_from.py and tests/system.
"""

import shlex

import pytest
from documentation import REPOSITORY
from fairseq import options
from fairseq_runs import config

from cmlm_kd.cli import main
from cmlm_kd.recipes.opening import open_recipe
from cmlm_kd.recipes.tuning import TunedStep

EXAMPLES = REPOSITORY / "examples" / "translation"


def trainings(recipe, capsys, monkeypatch, tmp_path, *settings):
    """Return the configuration of each training of translators, by the last part of its folder."""
    monkeypatch.chdir(tmp_path)
    command = ["run", str(EXAMPLES / f"{recipe}.yaml"), "--dry-run", "--output", "run"]
    assert main([*command, "--set", *settings] if settings else command) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "--task translation_kd" in line]
    parsed = [config(options.get_training_parser(), *shlex.split(line)[1:]) for line in lines]
    return {each.checkpoint.save_dir.rpartition("/")[2]: each for each in parsed}


def test_selective(capsys, monkeypatch, tmp_path):
    settings = ("selection=confidence", "threshold=0.3", "combination=added", "topk=4")
    found = trainings("selective", capsys, monkeypatch, tmp_path, *settings)
    assert set(found) == {"alone@1", "distilled@1", "selective@1"}
    criterion = found["selective@1"].criterion
    assert criterion._name == "selective_kd"
    assert (criterion.kd_selection, criterion.kd_threshold, criterion.kd_topk) == ("confidence", 0.3, 4)
    assert criterion.kd_combination == "added"
    assert found["distilled@1"].optimization == found["selective@1"].optimization
    assert found["distilled@1"].criterion.kd_alpha == criterion.kd_alpha


def test_hidden_states(capsys, monkeypatch, tmp_path):
    found = trainings("hidden_state", capsys, monkeypatch, tmp_path, "hidden=2", "encoder_map=1,3,5")
    assert found["deep"].model.encoder_layers == 6 and found["inside@1"].model.encoder_layers == 3
    assert found["inside@1"].criterion.kd_encoder_layer_map == "1,3,5"
    assert found["inside@1"].criterion.kd_hidden_weight == 2.0
    assert (
        found["started@1"].task.init_from
        == found["heard@1"].task.online_teacher
        == "run/deep/checkpoint_best.pt"
    )
    assert found["started@1"].task.encoder_layers_map == "1,3,5"


def test_the_teachers_order(capsys, monkeypatch, tmp_path):
    found = trainings("tie", capsys, monkeypatch, tmp_path, "topk=3", "iterations=2")
    assert set(found) == {"alone@1", "distilled@1", "deep", "heard@1", "ranked@1", "iterated@1"}
    for name, iterations in (("ranked", 1), ("iterated", 2)):
        training = found[f"{name}@1"]
        assert training.criterion._name == "tie_kd" and training.criterion.kd_topk == 3
        assert training.criterion.kd_iterations == iterations
        assert training.task.online_teacher == found["heard@1"].task.online_teacher
        assert training.optimization == found["heard@1"].optimization
    assert found["heard@1"].criterion.kd_temperature == 1.0


@pytest.mark.parametrize(
    ("recipe", "step"), [("selective", "selective"), ("hidden_state", "inside"), ("tie", "ranked")]
)
def test_their_trainings_can_be_tuned(monkeypatch, tmp_path, recipe, step):
    monkeypatch.chdir(tmp_path)
    names = {"cpu": "", "autocast": ""}
    opened = open_recipe(EXAMPLES / f"{recipe}.yaml", [], "run", names)
    tuned = TunedStep(opened.recipe, opened.known, opened.folder, opened.shown, opened.steps, step)
    assert tuned.most == 600
    command = tuned.steps({"alpha": 0.25}, "tune/trial-000", 66)[step].command
    for part in (
        "--max-update 66",
        "--kd-alpha 0.25",
        "--save-dir run/tune/trial-000",
        "--total-num-update 600",
        "--seed 1",
    ):
        assert part in command
