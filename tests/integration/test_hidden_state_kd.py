"""hidden_state_kd in fairseq-train: what is kept of a translator, a teacher beside it, and that on disk."""

import contextlib
import re
import shutil

import fairseq_cli.train
import pytest
import torch
from fairseq_runs import TINY_STUDENT, build_task, exit_of, run_train
from tiny_corpus import write_split
from tiny_next_tokens import LSTM, ROWS, train_translator, write_data

from cmlm_kd.api.needs import ATTENTION_SCORES, HIDDEN_STATES, Request
from cmlm_kd.cli import main
from cmlm_kd.teachers.state_cache import verify_states
from fairseq_plugins.models.inner_states import describe_translator, inner_states
from fairseq_plugins.translators.teacher_forcing import FairseqTeacher

DEEP = (*TINY_STUDENT, "--encoder-layers", 3, "--decoder-layers", 2, "--encoder-embed-dim", 24,
        "--decoder-embed-dim", 24)  # fmt: skip


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    """A data-bin, a deeper and wider teacher, and an LSTM."""
    root = tmp_path_factory.mktemp("inside")
    data = write_data(root / "data")
    train_translator(root / "deep", data, "--seed", 1, model=DEEP)
    train_translator(root / "lstm", data, "--seed", 2, model=LSTM)
    short = ("--max-source-positions", 20, "--encoder-learned-pos")
    train_translator(root / "short", data, *short, model=DEEP)
    return root


def flags(road, save_dir, *more, teacher="deep", data=None):
    return (
        *(data or road / "data", "--task", "translation_kd", "--criterion", "hidden_state_kd", *TINY_STUDENT),
        *("--online-teacher", road / teacher / "checkpoint_last.pt", "--kd-topk", 3, "--kd-alpha", 0.5),
        *("--max-tokens", 200, "--max-update", 2, "--save-dir", save_dir, "--no-progress-bar"),
        *("--no-epoch-checkpoints", *more),
    )


def make_batch(task):
    task.load_dataset("valid")
    dataset = task.dataset("valid")
    return dataset.collater([dataset[row] for row in range(len(dataset))])


@pytest.mark.parametrize("normalised", [(), ("--encoder-normalize-before", "--decoder-normalize-before")])
def test_what_is_kept_is_what_fairseq_computes(road, tmp_path, normalised):
    task, cfg = build_task(road / "data", "--task", "translation", *DEEP, *normalised)
    model = task.build_model(cfg.model).eval()
    inputs = make_batch(task)["net_input"]
    everything = Request(
        hidden_states=(0, 1, 2),
        attention_scores=(2,),
        cross_attention_scores=(1,),
        encoder=Request(hidden_states=(0, 1, 3), attention_scores=(1, 3)),
    )
    seen = []
    layer = model.encoder.layers[2].self_attn
    watched = layer.register_forward_pre_hook(lambda m, a, k: seen.append(k["query"]), with_kwargs=True)
    with inner_states(model, everything) as kept:
        logits, extra = model(**inputs, return_all_hiddens=True)
    watched.remove()
    torch.testing.assert_close(logits, model(**inputs)[0])
    encoded = model.encoder(inputs["src_tokens"], inputs["src_lengths"], return_all_hiddens=True)
    for n in (0, 1, 3):
        torch.testing.assert_close(kept.states["encoder"][n], encoded["encoder_states"][n].transpose(0, 1))
    for n in (0, 1, 2):
        torch.testing.assert_close(kept.states["decoder"][n], extra["inner_states"][n].transpose(0, 1))
    query = seen[0]
    # What fairseq gives is behind the softmax, and the mean of the heads.
    _, wanted = layer(query, query, query)  # (B, S, S)
    torch.testing.assert_close(kept.scores["encoder"][3].softmax(-1).mean(1), wanted)
    assert kept.cross[1].shape == (9, 2, inputs["prev_output_tokens"].size(1), inputs["src_tokens"].size(1))
    assert kept.scores["decoder"][2].isfinite().all()  # not masked, the future neither
    assert not model.encoder.layers[0]._forward_hooks and "apply_sparse_mask" not in vars(layer)
    assert not layer.skip_embed_dim_check


def test_what_a_translator_shows(road):
    task, cfg = build_task(road / "data", "--task", "translation", *DEEP)
    dictionaries = task.source_dictionary, task.target_dictionary
    shown = describe_translator(task.build_model(cfg.model), "student", *dictionaries)
    assert (shown.encoder.layers, shown.layers, shown.hidden_size, shown.heads) == (3, 2, 24, 2)
    dropped = (*DEEP, "--encoder-layerdrop", 0.1, "--decoder-layerdrop", 0.1)
    task, cfg = build_task(road / "data", "--task", "translation", *dropped)
    shown = describe_translator(task.build_model(cfg.model), "student", *dictionaries)
    assert not shown.provides & {HIDDEN_STATES, ATTENTION_SCORES}


@pytest.mark.parametrize("more", [(), ("--kd-alpha", 0, "--kd-implementation", "dense")])
def test_it_trains_saves_and_resumes(road, tmp_path, more):
    run_train(*flags(road, tmp_path, *more))
    state = torch.load(tmp_path / "checkpoint_last.pt", weights_only=False)
    assert {tuple(weight.shape) for weight in state["criterion"].values()} == {(24, 16)}
    assert set(state["criterion"]) == {
        f"trainable.{half}.maps.layers.weight" for half in ("encoder", "decoder")
    }
    run_train(*flags(road, tmp_path, *more, "--max-update", 3))
    again = torch.load(tmp_path / "checkpoint_last.pt", weights_only=False)
    assert again["optimizer_history"][-1]["num_updates"] == 3


@pytest.mark.parametrize(
    ("teacher", "more", "message"),
    [
        ("lstm", (), r"reads hidden states, which teacher .*lstm.* \(LSTMModel\) does not give"),
        ("deep", ("--kd-encoder-layer-map", "1:4"), r"teacher layer 4 is not in 1 to 3"),
        ("deep", ("--kd-projection", "none"), "hidden states of width 16 and 24"),
        ("deep", ("--encoder-attention-heads", 4, "--decoder-attention-heads", 4), "4 and 2 attention heads"),
        ("short", (), r"short.* reads sources of up to 20 tokens, .* 1024; pass --max-source-positions 20"),
        (
            "deep",
            ("--decoder-layerdrop", 0.5),
            "which student .* does not give with --decoder-layerdrop .*; leave out --decoder-layerdrop, or",
        ),
        ("deep", ("--encoder-layerdrop", 0.5), "which the encoder of student .* does not give.*-layerdrop"),
        ("deep", ("--left-pad-target",), "leave the flag out, or pass --kd-attention-weight 0"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(road, tmp_path, teacher, more, message):
    status, errors = exit_of(fairseq_cli.train, *flags(road, tmp_path, *more, teacher=teacher))
    assert status != 0
    assert re.search(message, errors), errors
    assert not list(tmp_path.glob("*.pt"))


AS_WIDE = ("--encoder-embed-dim", 24, "--decoder-embed-dim", 24, "--kd-projection", "none")
BOTH_DROP = ("--encoder-layerdrop", 0.5, "--decoder-layerdrop", 0.5)
NO_ATTENTION = ("--kd-attention-weight", 0, "--kd-cross-attention-weight", 0)


@pytest.mark.parametrize(
    ("more", "leave_out", "passed"),
    [
        (("--checkpoint-activations",), "--checkpoint-activations", NO_ATTENTION),
        (
            ("--checkpoint-activations", "--kd-hidden-weight", 0),
            "--checkpoint-activations",
            (*NO_ATTENTION, "--kd-hidden-weight", 1),
        ),
        (
            ("--checkpoint-activations", "--kd-cross-attention-weight", 0),
            "--checkpoint-activations",
            NO_ATTENTION[:2],
        ),
        (
            ("--offload-activations", "--checkpoint-activations"),
            "--offload-activations and --checkpoint-activations",
            NO_ATTENTION,
        ),
        (BOTH_DROP, "--decoder-layerdrop and --encoder-layerdrop", None),
    ],
)
def test_a_remedy_that_is_followed_works(road, tmp_path, more, leave_out, passed):
    status, errors = exit_of(fairseq_cli.train, *flags(road, tmp_path / "refused", *more))
    line = errors.splitlines()[-1]
    assert status == 1 and f"does not give with {leave_out} (student" in line, errors
    without = list(more)
    for flag in leave_out.split(" and "):
        place = without.index(flag)
        del without[place : place + (2 if "layerdrop" in flag else 1)]
    run_train(*flags(road, tmp_path / "without", *without))
    if passed is None:
        assert line.endswith(f"; leave out {leave_out}, or take soft_target_kd")
        return
    assert line.endswith(f"; leave out {leave_out}, or pass {' '.join(map(str, passed))}")
    run_train(*flags(road, tmp_path / "passed", *more, *passed))


@pytest.mark.parametrize("more", [("--checkpoint-activations",), ("--decoder-layerdrop", 0.5)])
def test_states_that_are_shown_are_learnt(road, tmp_path, more):
    """Of a half that is not read nothing need be shown; checkpoints change no gradient."""
    encoder = ("--kd-attention-weight", 0, "--kd-decoder-layer-map", "none", "--kd-hidden-weight", 100)
    found = []
    for name, given in (("plain", ()), ("other", more)):
        run_train(*flags(road, tmp_path / name, *encoder, "--dropout", 0, *given, "--max-update", 1))
        state = torch.load(tmp_path / name / "checkpoint_last.pt", weights_only=False)
        meters = {entry[1]: entry[3] for entry in state["extra_state"]["metrics"]["train"]}
        found.append([float(meters[key]["sum"]) for key in ("encoder_hidden_loss", "gnorm")])
    assert min(found[1]) > 0
    if "--checkpoint-activations" in more:
        assert found[0] == pytest.approx(found[1], rel=1e-5)


@pytest.mark.parametrize("trained", [("--checkpoint-activations",), BOTH_DROP], ids=["checkpoints", "drops"])
def test_a_teacher_shows_its_inside_however_it_was_trained(road, tmp_path, trained):
    """It drops no layers and keeps nothing for a gradient when it teaches."""
    terms = []
    for name, more in (("plain", ()), ("trained", trained)):
        weights = train_translator(tmp_path / name, road / "data", *more, model=DEEP)
        if name == "trained":  # the same weights in a model of other settings
            state = torch.load(weights, weights_only=False)
            state["model"] = torch.load(tmp_path / "plain" / weights.name, weights_only=False)["model"]
            torch.save(state, weights)
        save_dir = tmp_path / f"{name}-student"
        run_train(*flags(tmp_path, save_dir, *AS_WIDE, "--dropout", 0, data=road / "data", teacher=name))
        state = torch.load(save_dir / "checkpoint_last.pt", weights_only=False)
        meters = {entry[1]: entry[3] for entry in state["extra_state"]["metrics"]["train"]}
        terms.append({name: float(meter["sum"]) for name, meter in meters.items() if name.endswith("_loss")})
    assert terms[0] == pytest.approx(terms[1], rel=1e-5)
    assert {"decoder_attention_loss", "cross_attention_loss", "encoder_attention_loss"} <= set(terms[0])


def test_several_teachers_have_no_inside(road, tmp_path):
    given = list(flags(road, tmp_path))
    given[given.index("--online-teacher") + 1] = ",".join(
        str(road / name / "checkpoint_last.pt") for name in ("deep", "lstm")
    )
    status, errors = exit_of(fairseq_cli.train, *given)
    assert status != 0 and re.search(r"reads hidden states, which mean of .* does not give", errors), errors


@pytest.mark.parametrize("source", [("--soft-targets", "none"), ("--soft-targets", "STORE")])
def test_a_store_has_no_inside(road, tmp_path, source):
    given = list(flags(road, tmp_path))
    place = given.index("--online-teacher")
    given[place : place + 2] = source
    with contextlib.chdir(tmp_path):
        status, errors = exit_of(fairseq_cli.train, *given)
    assert status != 0 and "name its checkpoint with --online-teacher" in errors, errors


# -- the cache of the teacher -----------------------------------------------------------------------------


def losses(save_dir):
    """Every term of each epoch's log."""
    states = [torch.load(path, weights_only=False) for path in sorted(save_dir.glob("checkpoint[12].pt"))]
    assert len(states) == 2
    return [
        {
            entry[1]: float(entry[3]["sum"])
            for entry in state["extra_state"]["metrics"]["train"]
            if "loss" in entry[1]
        }
        for state in states
    ]


def two_epochs(road, save_dir, *more):
    given = list(flags(road, save_dir, "--max-update", 100, "--max-epoch", 2, "--dropout", 0, *more))
    given.remove("--no-epoch-checkpoints")
    run_train(*given, "--disable-validation")
    return torch.load(save_dir / "checkpoint2.pt", weights_only=False)["model"]


@pytest.mark.parametrize(
    "more",
    [
        (),
        ("--kd-alpha", 0),
        ("--left-pad-source", "--left-pad-target", "--kd-attention-weight", 0, "--kd-tail", "bucket"),
        ("--num-workers", 2, "--kd-implementation", "dense"),
        ("--truncate-source", "--max-source-positions", 6, "--kd-encoder-layer-map", "none"),
        ("--fold", "1/3"),
    ],
)
def test_a_cache_trains_as_the_teacher_beside_the_student(road, tmp_path, more):
    online = two_epochs(road, tmp_path / "online", *more)
    cache = ("--teacher-cache", tmp_path / "cache")
    for name in ("first", "again"):
        cached = two_epochs(road, tmp_path / name, *more, *cache)
        for ours, theirs in zip(losses(tmp_path / name), losses(tmp_path / "online"), strict=True):
            assert ours == pytest.approx(theirs, rel=1e-5) and len(ours) > 4
        for weight, tensor in cached.items():
            torch.testing.assert_close(tensor, online[weight], rtol=1e-3, atol=1e-4)


def test_the_cache_of_several_training_sets(road, tmp_path):
    shutil.copytree(road / "data", tmp_path / "data")
    write_split(tmp_path / "data", "train1", 7, seed=9)
    (tmp_path / "deep").symlink_to(road / "deep")
    twice = ("--upsample-primary", 2)
    two_epochs(tmp_path, tmp_path / "online", *twice)
    two_epochs(tmp_path, tmp_path / "cached", *twice, "--teacher-cache", tmp_path / "cache")
    for ours, theirs in zip(losses(tmp_path / "cached"), losses(tmp_path / "online"), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
    assert verify_states(tmp_path / "cache").identity.pairs == 2 * ROWS + 7


def test_a_cache_of_which_a_training_has_read_goes_on(road, tmp_path, monkeypatch):
    """With the learning curve of one that is not interrupted, and no teacher's forward."""
    cache = ("--teacher-cache", tmp_path / "cache")
    whole = two_epochs(road, tmp_path / "whole", *cache)
    monkeypatch.setattr(FairseqTeacher, "look_inside", None)
    parts = (tmp_path / "parts", "--max-update", 100, "--dropout", 0, "--disable-validation", *cache)
    run_train(*flags(road, *parts, "--max-epoch", 1))
    run_train(*flags(road, *parts, "--max-epoch", 2))
    resumed = torch.load(tmp_path / "parts" / "checkpoint_last.pt", weights_only=False)["model"]
    for weight, tensor in resumed.items():
        torch.testing.assert_close(tensor, whole[weight], rtol=1e-5, atol=1e-6)


def test_a_writing_that_was_killed_begins_again(road, tmp_path, monkeypatch):
    cache = ("--teacher-cache", tmp_path / "cache")

    def killed(path, _):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("cmlm_kd.teachers.state_writer.write_manifest", killed)
        with pytest.raises(KeyboardInterrupt):
            run_train(*flags(road, tmp_path / "s", *cache))
    assert not (tmp_path / "cache").exists()
    run_train(*flags(road, tmp_path / "s", *cache))
    assert main(["verify", str(tmp_path / "cache")]) == 0


def refused(road, tmp_path, *more, teacher="deep"):
    status, errors = exit_of(fairseq_cli.train, *flags(road, tmp_path / "s", *more, teacher=teacher))
    assert status != 0 and not list(tmp_path.glob("s/*.pt"))
    return errors


@pytest.fixture(scope="module")
def cache(road):
    run_train(*flags(road, road / "s", "--teacher-cache", road / "cache", "--max-update", 1, "--no-save"))
    return road / "cache"


@pytest.mark.parametrize(
    ("teacher", "more", "message"),
    [
        ("other", (), r"is of another teacher: it has \w+, this run \w+; give another --teacher-cache"),
        (
            "deep",
            ("--kd-encoder-layer-map", "1:2"),
            r"the encoder's hidden states of layers \[3\], not of \[2\]",
        ),
        ("deep", ("--kd-topk", 5), "has the 3 best entries of each token, this training reads 5"),
        (
            "deep",
            ("--kd-tail", "bucket", "--kd-temperature", 7),
            r"tails at temperatures \[10.0\], not of \[7.0\]",
        ),
        ("deep", ("--bf16-autocast",), "is of another precision: it has float32, this run bfloat16"),
        ("deep", ("--truncate-source", "--max-source-positions", 5), "is of another corpus: it has"),
    ],
)
def test_a_cache_of_something_else_is_refused(road, cache, tmp_path, teacher, more, message):
    if teacher == "other" and not (road / "other").exists():
        train_translator(road / "other", road / "data", "--seed", 5, model=DEEP)
    errors = refused(road, tmp_path, "--teacher-cache", cache, *more, teacher=teacher)
    assert re.search(message, errors) and "it will be computed again" in errors, errors


def test_a_damaged_cache_is_refused(road, cache, tmp_path, capsys):
    damaged = shutil.copytree(cache, tmp_path / "cache")
    file = next(damaged.glob("decoder-hidden-*.npy"))
    content = bytearray(file.read_bytes())
    content[-2] ^= 4
    file.write_bytes(content)
    errors = refused(road, tmp_path, "--teacher-cache", damaged)
    assert f"{file.name} is not what the manifest says" in errors, errors
    assert main(["verify", str(damaged)]) == 2
    assert f"{file.name} is not what the manifest says" in capsys.readouterr().err
    assert main(["verify", str(cache)]) == 0
    assert "a teacher cache, every byte is as it was written" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"--criterion": "soft_target_kd"},
            r"of which this criterion reads soft targets alone; .*cmlm-kd dump",
        ),
        ({"--online-teacher": None}, "--teacher-cache is of no use without --online-teacher"),
        (
            {"--online-teacher": None, "--soft-targets": "none"},
            "--teacher-cache is of no use without --online-teacher",
        ),
        ({"DATA": "DATA:DATA"}, r"--teacher-cache is of one training set, and there are 2 data directories"),
    ],
)
def test_what_cannot_be_cached_is_refused(road, tmp_path, change, message):
    given = [str(word) for word in flags(road, tmp_path / "s", "--teacher-cache", tmp_path / "cache")]
    if "DATA" in change:
        given[0] = f"{given[0]}:{given[0]}"
    for flag, value in change.items():
        if flag in given:
            place = given.index(flag)
            given[place : place + 2] = [] if value is None else [flag, value]
        elif flag != "DATA":
            given += [flag, value]
    status, errors = exit_of(fairseq_cli.train, *given)
    assert status != 0 and re.search(message, errors), errors
    assert not (tmp_path / "cache").exists()
