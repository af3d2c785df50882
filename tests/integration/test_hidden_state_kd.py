"""hidden_state_kd in fairseq-train: what is kept of a translator, a teacher beside it, and that on disk."""

import contextlib
import re

import fairseq_cli.train
import pytest
import torch
from fairseq_runs import TINY_STUDENT, build_task, exit_of, run_train
from tiny_next_tokens import LSTM, train_translator, write_data

from cmlm_kd.api.needs import ATTENTION_SCORES, HIDDEN_STATES, Request
from fairseq_plugins.models.inner_states import describe_translator, inner_states

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


def flags(road, save_dir, *more, teacher="deep"):
    return (
        *(road / "data", "--task", "translation_kd", "--criterion", "hidden_state_kd", *TINY_STUDENT),
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
        _, extra = model(**inputs, return_all_hiddens=True)
    watched.remove()
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
    assert not model.encoder.layers[0]._forward_hooks and not layer._forward_pre_hooks


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
        ("deep", ("--decoder-layerdrop", 0.5), "which student .* does not give"),
        ("deep", ("--left-pad-target",), "leave the flag out, or pass --kd-attention-weight 0"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(road, tmp_path, teacher, more, message):
    status, errors = exit_of(fairseq_cli.train, *flags(road, tmp_path, *more, teacher=teacher))
    assert status != 0
    assert re.search(message, errors), errors
    assert not list(tmp_path.glob("*.pt"))


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
