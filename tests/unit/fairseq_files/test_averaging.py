"""Averages of checkpoints: the arithmetic, the choice of checkpoints, what is refused."""

import argparse
import json

import numpy as np
import pytest
import torch
from disk import largest_file

from cmlm_kd.cli import main
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.averaging import average_checkpoints, select_checkpoints
from cmlm_kd.fairseq_files.checkpoint_keys import FOLD
from cmlm_kd.fairseq_files.checkpoints import count_parameters, number_of_updates, read_checkpoint
from cmlm_kd.fairseq_files.portable import make_portable

COUNTS = {"sum": np.array([5, 4]), "val": np.float64(2)}  # as --eval-bleu leaves them


class Dangerous:
    """A class that safe loading must refuse."""


def write(path, updates, value, val_loss=None, maximize=False, **changes):
    """Write a checkpoint whose weights are ``value``, with what fairseq puts into one."""
    embedding = torch.full((4, 2), float(value))
    model = {
        "encoder.version": torch.tensor([3.0]),
        "encoder.embed_tokens.weight": embedding,
        "decoder.output_projection.weight": embedding,
        "decoder.half": torch.full((3,), float(value), dtype=torch.float16),
        "decoder.steps": torch.tensor(updates),
        **changes.pop("model", {}),
    }
    state = {
        "args": None,
        "cfg": {
            "common": {"user_dir": "fairseq_plugins", "seed": 1},
            "checkpoint": {"maximize_best_checkpoint_metric": maximize},
            "task": {"_name": "translation_kd", "data": "bin", "source_lang": "de", "soft_targets": "store"},
            "criterion": {"_name": "soft_target_kd", "kd_alpha": 0.5, "label_smoothing": 0.1},
            "model": argparse.Namespace(
                _name="transformer", task="translation_kd", criterion="soft_target_kd", soft_targets="store",
                kd_alpha=0.5, encoder_layers=1, user_dir="fairseq_plugins", adam_betas=(0.9, 0.98),
            ),
            "bpe": {"_name": "teacher_pieces"},
        },
        "model": model,
        "criterion": None,
        "optimizer_history": [{"criterion_name": "SoftTargetKD", "num_updates": updates}],
        "task_state": {},
        "extra_state": {
            "val_loss": val_loss,
            "metrics": {"valid": [(10, "_bleu_counts", "AverageMeter", COUNTS)]},
        },
        "last_optimizer_state": {"state": {0: torch.ones(100)}},
        **changes,
    }  # fmt: skip
    torch.save(state, path)
    return path


def test_mean_of_every_weight(tmp_path):
    paths = [write(tmp_path / f"checkpoint{n}.pt", n, value) for n, value in enumerate((1.0, 2.0, 6.0), 1)]
    averaged = average_checkpoints([paths[2], paths[0], paths[1]])
    model = averaged["model"]
    assert torch.equal(model["encoder.embed_tokens.weight"], torch.full((4, 2), 3.0))
    assert torch.equal(model["decoder.half"], torch.full((3,), 3.0, dtype=torch.float16))
    assert model["decoder.steps"].item() == 3, "integers are the newest checkpoint's"
    assert model["encoder.embed_tokens.weight"] is model["decoder.output_projection.weight"], (
        "tied stays tied"
    )
    assert number_of_updates(averaged) == 3
    assert "last_optimizer_state" not in averaged
    assert averaged["extra_state"]["averaged"] == {
        "checkpoint3.pt": 3,
        "checkpoint1.pt": 1,
        "checkpoint2.pt": 2,
    }


def test_half_precision_is_summed_in_double_precision(tmp_path):
    """In float16, 2048 + 1 is 2048."""
    values = [2048.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0]
    paths = [write(tmp_path / f"checkpoint{n}.pt", n, value) for n, value in enumerate(values)]
    assert torch.equal(
        average_checkpoints(paths)["model"]["decoder.half"], torch.full((3,), 257.0, dtype=torch.half)
    )


def test_weights_that_are_tied_in_one_checkpoint_only_are_not_tied(tmp_path):
    untied = {"decoder.output_projection.weight": torch.full((4, 2), 9.0)}
    paths = [
        write(tmp_path / "checkpoint1.pt", 1, 1.0, model=untied),
        write(tmp_path / "checkpoint2.pt", 2, 3.0),
    ]
    model = average_checkpoints(paths)["model"]
    assert model["encoder.embed_tokens.weight"].unique().item() == 2.0
    assert model["decoder.output_projection.weight"].unique().item() == 6.0


def test_different_models_are_refused_by_name(tmp_path):
    one = write(tmp_path / "a.pt", 1, 1.0)
    other_shape = write(tmp_path / "b.pt", 2, 1.0, model={"decoder.half": torch.ones(5, dtype=torch.float16)})
    with pytest.raises(UserError, match=r"decoder.half has shape \[5\] and \[3\]"):
        average_checkpoints([one, other_shape])
    more_keys = write(tmp_path / "c.pt", 3, 1.0, model={"decoder.extra": torch.ones(1)})
    with pytest.raises(UserError, match=r"only one of them has decoder\.extra"):
        average_checkpoints([one, more_keys])
    with pytest.raises(UserError, match="no checkpoint to average"):
        average_checkpoints([])


def test_last_counts_updates_and_takes_each_once(tmp_path):
    for name, updates in (
        ("1", 100),
        ("_1_150", 150),
        ("2", 200),
        ("10", 1000),
        ("_last", 1000),
        ("_best", 150),
    ):
        write(tmp_path / f"checkpoint{name}.pt", updates, 0.0)
    chosen = [number_of_updates(read_checkpoint(path)) for path in select_checkpoints(tmp_path, last=3)]
    assert chosen == [1000, 200, 150]
    torch.save(average_checkpoints(select_checkpoints(tmp_path, last=2)), tmp_path / "checkpoint_avg.pt")
    assert len(select_checkpoints(tmp_path, last=4)) == 4
    with pytest.raises(UserError, match="holds 4 different checkpoints, 5 are asked for"):
        select_checkpoints(tmp_path, last=5)


@pytest.mark.parametrize(("maximize", "expected"), [(False, [2, 4]), (True, [1, 4])])
def test_best_follows_the_metric_of_the_run(tmp_path, maximize, expected):
    for updates, val_loss in ((1, 9.0), (2, 1.5), (3, None), (4, 2.5 if not maximize else 8.5)):
        write(tmp_path / f"checkpoint{updates}.pt", updates, 0.0, val_loss=val_loss, maximize=maximize)
    chosen = select_checkpoints(tmp_path, best=2)
    assert [number_of_updates(read_checkpoint(path)) for path in chosen] == expected
    with pytest.raises(UserError, match="holds 3 different checkpoints with a validation score, 4"):
        select_checkpoints(tmp_path, best=4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "exactly one"),
        ({"last": 1, "best": 1}, "exactly one"),
        ({"last": 0}, "0 checkpoints: at least 1"),
    ],
)
def test_misuse_of_the_choice(tmp_path, arguments, words):
    with pytest.raises(UserError, match=words):
        select_checkpoints(tmp_path, **arguments)
    with pytest.raises(UserError, match="is not a directory"):
        select_checkpoints(tmp_path / "missing", last=1)


def test_what_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_checkpoint(tmp_path / "missing.pt")
    (tmp_path / "text.pt").write_text("not a checkpoint")
    with pytest.raises(UserError, match=r"cannot be read as a checkpoint: it is nothing that torch wrote"):
        read_checkpoint(tmp_path / "text.pt")
    whole = write(tmp_path / "whole.pt", 1, 1.0).read_bytes()
    (tmp_path / "half.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="cannot be read as a checkpoint"):
        read_checkpoint(tmp_path / "half.pt")
    torch.save({"weights": 1}, tmp_path / "other.pt")
    with pytest.raises(UserError, match="has no 'model'"):
        read_checkpoint(tmp_path / "other.pt")
    torch.save({"model": {}, "extra_state": Dangerous()}, tmp_path / "code.pt")
    with pytest.raises(UserError, match="Dangerous"):
        read_checkpoint(tmp_path / "code.pt")


def test_the_format_of_published_models(tmp_path):
    """Those from before torch 1.6 are pickles, and read as safely."""
    state = read_checkpoint(write(tmp_path / "new.pt", 1, 2.0))
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    old = read_checkpoint(tmp_path / "old.pt")
    assert vars(old["cfg"]["model"]) == vars(state["cfg"]["model"])
    assert all(torch.equal(weight, state["model"][name]) for name, weight in old["model"].items())
    torch.save({"model": {}, "x": Dangerous()}, tmp_path / "code.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(UserError, match="Dangerous"):
        read_checkpoint(tmp_path / "code.pt")


def test_reading_leaves_what_is_allowed_as_it_was(tmp_path):
    path = write(tmp_path / "a.pt", 1, 1.0)
    # What was allowed already would be forbidden at the end of the block.
    known = torch.serialization.get_safe_globals()
    with torch.serialization.safe_globals([c for c in (argparse.Namespace, Dangerous) if c not in known]):
        before = set(torch.serialization.get_safe_globals())
        read_checkpoint(path)
        assert set(torch.serialization.get_safe_globals()) == before


def test_parameters_count_tied_weights_once(tmp_path):
    assert count_parameters(read_checkpoint(write(tmp_path / "a.pt", 1, 1.0))) == 4 * 2 + 3


def test_portable_has_stock_settings_and_plain_values_only(tmp_path):
    portable = make_portable(read_checkpoint(write(tmp_path / "a.pt", 7, 1.0, val_loss=3.5)))
    torch.save(portable, tmp_path / "portable.pt")
    loaded = torch.load(tmp_path / "portable.pt", weights_only=True)  # nothing allowed on top
    cfg = loaded["cfg"]
    assert cfg["task"] == {"_name": "translation", "data": "bin", "source_lang": "de"}
    assert cfg["criterion"] == {"_name": "label_smoothed_cross_entropy", "label_smoothing": 0.1}
    assert cfg["model"] == {
        "_name": "transformer", "task": "translation", "criterion": "label_smoothed_cross_entropy",
        "encoder_layers": 1, "user_dir": None, "adam_betas": [0.9, 0.98],
    }  # fmt: skip
    assert cfg["common"] == {"user_dir": None, "seed": 1}
    assert cfg["bpe"] is None
    assert loaded["optimizer_history"] == [
        {"criterion_name": "LabelSmoothedCrossEntropyCriterion", "num_updates": 7}
    ]
    assert loaded["extra_state"] == {"val_loss": 3.5}
    assert not any(word in json.dumps(cfg) for word in ("kd_", "soft_target", "fairseq_plugins", "teacher"))


def test_portable_refuses_what_has_no_stock_counterpart(tmp_path):
    teacher = read_checkpoint(write(tmp_path / "a.pt", 1, 1.0))
    teacher["cfg"]["task"]["_name"] = "cmlm"
    with pytest.raises(UserError, match="task 'cmlm'; only translation students"):
        make_portable(teacher)
    with pytest.raises(UserError, match="no settings"):
        make_portable({"model": {}, "args": argparse.Namespace()})


def test_command(tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    for updates in (1, 2, 3):
        write(run / f"checkpoint{updates}.pt", updates, float(updates), val_loss=float(updates))
    output = tmp_path / "out" / "mean.pt"
    assert main(["average", "--dir", str(run), "--best", "2", "--output", str(output)]) == 0
    assert "mean of 2 checkpoints" in capsys.readouterr().out
    assert read_checkpoint(output)["model"]["decoder.half"].unique().item() == 1.5
    assert [path.name for path in output.parent.iterdir()] == ["mean.pt"]

    assert (
        main(["average", "--inputs", str(run / "checkpoint3.pt"), "--output", str(output), "--portable"]) == 0
    )
    assert torch.load(output, weights_only=True)["cfg"]["task"]["_name"] == "translation"

    assert main(["average", "--inputs", "a.pt", "--last", "2", "--output", str(output)]) == 2
    assert "don't go with --inputs" in capsys.readouterr().err
    assert main(["average", "--dir", str(run), "--output", str(output)]) == 2
    assert "exactly one of --last and --best" in capsys.readouterr().err


def test_a_checkpoint_is_not_replaced_by_a_mean_of_it(tmp_path, capsys):
    path = write(tmp_path / "checkpoint_last.pt", 1, 1.0)
    before = path.read_bytes()
    assert main(["average", "--dir", str(tmp_path), "--last", "1", "--output", str(path)]) == 2
    assert "checkpoint_last.pt is a file that is read" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_teachers_that_were_kept_from_different_folds(tmp_path):
    """Their mean has seen every row, and would say that it has not."""
    for updates, state in enumerate(({FOLD: "0/2"}, {FOLD: "0/2"}, {FOLD: "1/2"}, {})):
        write(tmp_path / f"{updates}.pt", updates, 1.0, task_state=state)
    paths = [tmp_path / f"{updates}.pt" for updates in range(4)]
    assert average_checkpoints(paths[:2])["task_state"] == {FOLD: "0/2"}
    for other, said in ((2, "without fold 1/2"), (3, "on every row")):
        with pytest.raises(UserError, match=rf"{other}.pt was trained {said}, .*0.pt without fold 0/2"):
            average_checkpoints([paths[0], paths[other]])


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (
            {"labels": ["no", "yes"]},
            {"labels": ["yes", "no"]},
            "different classes .*'yes', 'no'.*'no', 'yes'",
        ),
        ({"heads": [{"name": "A"}]}, {"heads": [{"name": "B"}]}, "different tasks"),
        ({"inputs": "1234"}, {"inputs": "5678"}, "different tokenizer"),
    ],
)
def test_students_of_other_classes(tmp_path, one, other, said):
    """Their weights have equal shapes, and their mean says nothing."""
    paths = [write(tmp_path / f"{n}.pt", n, 1.0, task_state=state) for n, state in enumerate((one, other))]
    with pytest.raises(UserError, match=rf"1\.pt and .*0\.pt have {said}"):
        average_checkpoints(paths)
    assert average_checkpoints(paths[:1] * 2)["task_state"] == one


def test_weights_that_are_not_finite(tmp_path):
    paths = [write(tmp_path / f"{value}.pt", 1, value) for value in (1.0, float("nan"))]
    with pytest.raises(
        UserError, match=r"the mean of encoder\.embed_tokens\.weight has numbers that are not"
    ):
        average_checkpoints(paths)


def test_equal_inputs_give_equal_bytes(tmp_path):
    for updates in (1, 2):
        write(tmp_path / f"checkpoint{updates}.pt", updates, float(updates))
    inputs = [str(tmp_path / f"checkpoint{updates}.pt") for updates in (1, 2)]
    outputs = [tmp_path / "one.pt", tmp_path / "again" / "with-another-name.pt"]
    for output in outputs:
        assert main(["average", "--inputs", *inputs, "--output", str(output)]) == 0
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


def test_a_full_disk(tmp_path, capsys):
    path = write(tmp_path / "a.pt", 1, 1.0)
    with largest_file(500):
        assert main(["average", "--inputs", str(path), "--output", str(tmp_path / "mean.pt")]) == 2
    message = f"cmlm-kd average: {tmp_path / 'mean.pt'}: File too large; make room or choose another place\n"
    assert capsys.readouterr().err == message
    assert [file.name for file in tmp_path.iterdir()] == ["a.pt"]


def test_a_checkpoint_without_a_state_of_its_training_has_no_score(tmp_path):
    torch.save(
        {"model": {"x": torch.zeros(1)}, "optimizer_history": [{"num_updates": 1}]},
        tmp_path / "checkpoint1.pt",
    )
    with pytest.raises(
        UserError, match="holds 0 different checkpoints with a validation score, 1 are asked for"
    ):
        select_checkpoints(tmp_path, None, 1)
