"""``cmlm-kd dump --teacher``: fairseq's translators write the same store as a C-MLM."""

import json
import re
import shutil
from argparse import Namespace

import numpy as np
import pytest
import tiny_dump
import torch
from fairseq_runs import TINY_STUDENT
from tiny_corpus import VOCABULARY
from tiny_next_tokens import LSTM, ROWS, first_step, naive_logits, train_translator, write_data
from tiny_store import contents

from cmlm_kd.api.next_tokens import TeacherOptions, TranslationData
from cmlm_kd.cli import main
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.databin import Databin
from cmlm_kd.store import Corpus, SoftTargetStore, verify_store
from cmlm_kd.teachers.kinds import load_teachers

TEMPERATURES = (1.0, 10.0)
ADAPTIVE = (*TINY_STUDENT, "--adaptive-softmax-cutoff", "12,30")


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    """A data-bin, and a teacher of each architecture."""
    root = tmp_path_factory.mktemp("translators")
    data = write_data(root / "data")
    for name, model, seed in (
        ("transformer", TINY_STUDENT, 1),
        ("second", TINY_STUDENT, 2),
        ("lstm", LSTM, 3),
    ):
        train_translator(root / name, data, "--seed", seed, "--lr", 0.05, model=model)
    criterion = ("--criterion", "adaptive_loss", "--ddp-backend", "legacy_ddp")
    train_translator(root / "adaptive", data, *criterion, model=ADAPTIVE)
    return root


def teacher(road, name):
    return road / name / "checkpoint_last.pt"


def dump(road, output, *teachers, flags=("--topk", 4, "--shard-rows", 10, "--max-tokens", 60), data="data"):
    known = {name: teacher(road, name) for name in ("transformer", "lstm", "adaptive")}
    named = [str(known.get(name, name)) for name in teachers]
    return main(["dump", str(road / data), "--teacher", *named, "--output", str(output), *map(str, flags)])


def log_probabilities(road, name):
    """Return what a teacher says of each pair, ``(L, V)`` each, one after the other."""
    data = TranslationData(road / "data", "de", "en", VOCABULARY)
    loaded = load_teachers([str(teacher(road, name))], data, TeacherOptions())
    pairs = zip(*sides(road), strict=True)
    if name == "adaptive":
        softmax = loaded.model.decoder.adaptive_softmax
        features = [naive_logits(loaded.model, *pair) for pair in pairs]  # (L, d)
        with torch.no_grad():
            return [softmax.get_log_prob(row[None], None)[0].double().numpy() for row in features]
    return [naive_logits(loaded.model, *pair).log_softmax(-1).double().numpy() for pair in pairs]


def sides(road):
    return [Databin.open(road / "data" / f"train.de-en.{language}") for language in ("de", "en")]


def check(store, said, k=4):
    """Compare a store with log-probabilities; its logits may be any constant apart."""
    for row, wanted in enumerate(said):
        ids, logits, tail = store[row]
        order = np.argsort(-wanted, axis=1)[:, :k]
        best = np.take_along_axis(wanted, order, 1)
        clear = (best[:, :-1] - best[:, 1:]).min(1) > 1e-3  # no ties that rounding may turn
        np.testing.assert_array_equal(ids[clear], order[clear])
        found = logits.astype(float)
        np.testing.assert_allclose(found - found[:, :1], best - best[:, :1], atol=6e-3)
        constant = (found[:, :1] - best[:, :1]).astype(float)  # (L, 1)
        rest = wanted.copy()
        np.put_along_axis(rest, order, -np.inf, 1)
        for column, temperature in enumerate(TEMPERATURES):
            mass = np.log(np.exp((rest + constant) / temperature).sum(1))
            np.testing.assert_allclose(tail[:, column], mass, atol=6e-3)


@pytest.mark.parametrize("name", ["transformer", "lstm", "adaptive"])
def test_a_store_holds_what_one_pair_after_the_other_gives(road, tmp_path, name):
    assert dump(road, tmp_path / "store", name) == 0
    store = SoftTargetStore.open(tmp_path / "store")
    verify_store(tmp_path / "store", Corpus.of_databin(road / "data", "train", "de", "en"))
    assert len(store) == ROWS and store.rows_without_teacher == 0
    check(store, log_probabilities(road, name))


def test_the_manifest_names_the_kind_and_old_ones_are_of_a_cmlm(road, tmp_path):
    assert dump(road, tmp_path / "store", "lstm") == 0
    manifest = SoftTargetStore.open(tmp_path / "store").manifest
    assert manifest.header.teacher_kind == "fairseq translator"
    assert "stride" not in manifest.header.settings
    assert json.loads((tmp_path / "store" / "manifest.json").read_text())["version"] == 1


def test_several_are_the_mean_of_their_probabilities(road, tmp_path):
    flags = ("--topk", 4, "--weights", 3, 1)
    assert dump(road, tmp_path / "store", "transformer", "lstm", flags=flags) == 0
    store = SoftTargetStore.open(tmp_path / "store")
    both = zip(log_probabilities(road, "transformer"), log_probabilities(road, "lstm"), strict=True)
    check(store, [np.log(0.75 * np.exp(first) + 0.25 * np.exp(second)) for first, second in both])
    assert store.manifest.header.teacher_kind == "mean of 2: fairseq translator"
    assert store.manifest.header.settings["weights"] == "0.75 0.25"


def test_an_interrupted_dump_goes_on_byte_by_byte(road, tmp_path):
    assert dump(road, tmp_path / "whole", "transformer") == 0
    shutil.copytree(tmp_path / "whole", tmp_path / "broken")
    for shard in sorted((tmp_path / "broken").glob("shard-*"))[1:3]:
        shard.unlink()
    assert dump(road, tmp_path / "broken", "transformer") == 0
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")


def test_a_cmlm_takes_part_in_a_mean(tmp_path):
    road = tiny_dump.write_road(tmp_path)
    train_translator(road / "trained", road / "data", "--lr", 0.05, model=LSTM)
    cmlm, lstm = str(road / "teacher1"), str(teacher(road, "trained"))
    stores = {"cmlm": (cmlm,), "lstm": (lstm,), "both": (f"cmlm={cmlm}", lstm)}
    flags = ["--topk", 3, "--tail-temperatures", 1, "--max-tokens", 100]
    for name, teachers in stores.items():
        arguments = [road / "data", "--teacher", *teachers, "--output", road / name, *flags]
        assert main(["dump", *map(str, arguments)]) == 0
    opened = {name: SoftTargetStore.open(road / name) for name in stores}
    assert opened["both"].manifest.header.teacher_kind == "mean of C-MLM, fairseq translator"
    for row in set(range(tiny_dump.ROWS)) - {tiny_dump.TOO_LONG}:
        probs = {name: probabilities(store[row]) for name, store in opened.items()}  # (L, V) each
        everywhere = (probs["both"] > 0) & (probs["cmlm"] > 0) & (probs["lstm"] > 0)
        assert everywhere.any()
        mean = (probs["cmlm"] + probs["lstm"]) / 2
        np.testing.assert_allclose(probs["both"][everywhere], mean[everywhere], rtol=0.02)
    assert opened["both"][tiny_dump.TOO_LONG] is None, "who cannot read it has no part in it"


def probabilities(row):
    """Return what a row of a store says of each entry, ``(L, V)``; 0 where it is not among the k."""
    ids, logits, tail = (np.asarray(part, np.float64) for part in row)
    mass = np.exp(logits).sum(1) + np.exp(tail[:, 0])  # (L,)
    probs = np.zeros((len(ids), 100))
    np.put_along_axis(probs, ids.astype(int), np.exp(logits) / mass[:, None], 1)
    return probs


# Refusals: one line that names value and remedy, and no store


def refusal(capsys, tmp_path, status):
    error = capsys.readouterr().err.splitlines()[-1]
    assert status == 2 and error.startswith("cmlm-kd dump: ") and not (tmp_path / "store").exists()
    return error


@pytest.mark.parametrize(
    ("teachers", "weights", "message"),
    [
        (("transformer",), (1, 2), "--weights has 2 numbers (1 2) for 1 teachers; give one for each"),
        (("transformer", "lstm"), (1,), "--weights has 1 numbers (1) for 2 teachers"),
        (("transformer", "lstm"), (1, 0), "--weights has 0; each must be above 0"),
        (("transformer", "lstm"), (1, "nan"), "--weights has nan; each must be above 0"),
    ],
)
def test_weights_that_do_not_match(road, tmp_path, capsys, teachers, weights, message):
    status = dump(road, tmp_path / "store", *teachers, flags=("--weights", *weights))
    assert message in refusal(capsys, tmp_path, status)


def test_a_dictionary_of_another_hash(road, tmp_path, capsys):
    data = shutil.copytree(road / "data", tmp_path / "data")
    dictionary = data / "dict.en.txt"
    dictionary.write_text(dictionary.read_text().replace("w7 1", "x7 1"))
    status = dump(road, tmp_path / "store", "lstm", data=data)
    error = refusal(capsys, tmp_path, status)
    assert re.search(r"has dictionary \w{8} for en, that of .*data is \w{8}; train the teacher on", error)


def test_a_dictionary_that_nobody_knows(road, tmp_path, capsys):
    path = tmp_path / "teacher.pt"
    state = torch.load(teacher(road, "lstm"), weights_only=False)
    state["cfg"]["task"]["data"] = str(tmp_path / "gone")
    torch.save(state, path)
    assert "put the teacher's dictionaries beside" in refusal(
        capsys, tmp_path, dump(road, tmp_path / "store", path)
    )
    for language in ("de", "en"):
        shutil.copy(road / "data" / f"dict.{language}.txt", tmp_path)
    assert dump(road, tmp_path / "store", path) == 0


def test_a_translator_of_other_languages(road, tmp_path, capsys):
    data = tmp_path / "data"
    data.mkdir()
    for file in (road / "data").iterdir():
        shutil.copy(file, data / file.name.replace("de-en", "fr-en").replace(".de", ".fr"))
    state = torch.load(teacher(road, "lstm"), weights_only=False)
    settings = {**vars(state["cfg"]["model"]), **state["cfg"]["task"], "task": "translation"}
    torch.save({**state, "args": Namespace(**settings), "cfg": None}, tmp_path / "older.pt")
    for name in ("lstm", tmp_path / "older.pt"):  # whose settings stand elsewhere
        error = refusal(capsys, tmp_path, dump(road, tmp_path / "store", name, data=data))
        assert "translates de to en" in error and "has fr to en; give a teacher of these languages" in error


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.pt", "nowhere.pt does not exist; give a checkpoint that fairseq-train wrote, a"),
        ("empty", "empty holds no teacher that is known"),
        ("ct2", "is a model of CTranslate2, which translates and says nothing of a given target; give the"),
        ("x.pt:y.pt", "names 2 models; the mean of several is 'cmlm-kd dump --teacher A B'"),
        (
            "odd=thing",
            "teacher odd=thing: no teacher is named 'odd'; registered are: cmlm, encoder_decoder, fairseq",
        ),
    ],
)
def test_what_is_no_teacher(road, tmp_path, capsys, name, message):
    for directory in ("empty", "ct2"):
        (tmp_path / directory).mkdir()
    for file in ("ct2/model.bin", "x.pt", "y.pt"):
        (tmp_path / file).touch()
    path = name if "=" in name else ":".join(str(tmp_path / part) for part in name.split(":"))
    assert message in refusal(capsys, tmp_path, dump(road, tmp_path / "store", path))


def test_a_teacher_whose_weights_are_no_numbers(road, tmp_path, capsys):
    state = torch.load(teacher(road, "lstm"), weights_only=False)
    state["model"]["decoder.fc_out.bias"][5] = float("nan")
    torch.save(state, tmp_path / "teacher.pt")
    error = refusal(capsys, tmp_path, dump(road, tmp_path / "store", tmp_path / "teacher.pt"))
    assert "has numbers that are not finite: the training diverged" in error


# Online


def test_online_teachers_give_the_losses_of_the_store(road, tmp_path):
    """Within float16's rounding of what is on disk, over a whole epoch; weights included."""
    places = [str(teacher(road, name)) for name in ("transformer", "lstm")]
    flags = ("--topk", 4, "--weights", 0.3, 0.7, "--tail-temperatures", 3)
    assert dump(road, tmp_path / "store", *places, flags=flags) == 0
    stored = first_step(road / "data", tmp_path / "a", "--soft-targets", tmp_path / "store")
    online = first_step(road / "data", tmp_path / "b", "--online-teacher", f"0.3*{places[0]},0.7*{places[1]}")
    assert online == pytest.approx(stored, rel=2e-4)
    assert online["kd_loss"] != pytest.approx(online["nll_loss"], rel=1e-2), "so that there is a difference"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ("--soft-targets", "X", "--online-teacher", "Y"),
            "--soft-targets X and --online-teacher Y both give",
        ),
        (("--online-teacher", "a,,b"), "'a,,b' has an empty name"),
        (("--online-teacher", "much*a.pt,b.pt"), r"what stands before \* is no number"),
        (
            ("--online-teacher", "0.5*a.pt,b.pt"),
            r"'0.5\*a.pt,b.pt' has weights 0.5 for 2 models; give each of them one above 0, as in 0.7\*MODEL",
        ),
        (("--online-teacher", "0.5*a.pt,0*b.pt"), "has weights 0.5, 0 for 2 models; give each of them one"),
        (("--online-teacher", "nowhere.pt"), "teacher nowhere.pt does not exist"),
        (
            ("--soft-targets", "none", "--kd-alpha", 0, "--prompt", "{source}:"),
            "--prompt is for --online-teacher, and with --soft-targets none no teacher is asked",
        ),
    ],
)
def test_online_teachers_that_are_refused_before_training(road, tmp_path, flags, message):
    with pytest.raises(UserError, match=message):
        first_step(road / "data", tmp_path / "save", *flags)
    assert not (tmp_path / "save" / "checkpoint_last.pt").exists()
