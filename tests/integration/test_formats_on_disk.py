"""Stores, caches, checkpoints and exports that an earlier commit wrote (tests/fixtures/formats)."""

import json
import re
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from fairseq.models.transformer import TransformerEncoderBase
from fairseq_runs import run_generate, run_train
from safetensors.torch import load_file
from torch.nn.modules.module import register_module_forward_pre_hook

from cmlm_kd.cli import main
from cmlm_kd.fairseq_files.checkpoint_keys import ENTRIES, OPTIMIZED, PATIENCE
from cmlm_kd.store import SoftTargetStore

FORMATS = Path(__file__).resolve().parents[1] / "fixtures" / "formats"
EXPECTED = json.loads((FORMATS / "expected.json").read_text(encoding="utf-8"))
GROUPS = ("translation", "states", "classification", "pretraining")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")
SMALL = ("--topk", 3, "--shard-rows", 5, "--max-tokens", 100)
KEY_BIAS = re.compile(r"\b(key|k_lin|k_proj)\.bias$")
"""What no attention depends on: its gradient is rounding, which Adam's division makes a step of some size."""
REWORDED = {" bytes a token": " bytes per token"}
"""What commands said when the fixtures were made -> what they say now."""
HALF = {"rtol": 2e-3, "atol": 2e-3}
"""Some units of float16's last place at the size of logits."""


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """A folder with every group's."""
    root = tmp_path_factory.mktemp("formats")
    for group in GROUPS:
        with tarfile.open(FORMATS / f"{group}.tar.xz") as archive:
            archive.extractall(root, filter="data")
    return root


@pytest.fixture
def enter(unpacked, monkeypatch):
    """Change to a group's folder; after the test every file in there must still be the one that was."""
    entered = []

    def change(group):
        monkeypatch.chdir(unpacked / group)
        entered.append((unpacked / group, fingerprints(unpacked / group)))

    yield change
    for folder, before in entered:
        assert fingerprints(folder) == before


def fingerprints(folder):
    """File -> what changes when it is written again, or gets other bytes."""
    files = [(path, path.stat()) for path in folder.rglob("*") if path.is_file()]
    return {path: (status.st_ino, status.st_mtime_ns, status.st_size) for path, status in files}


@pytest.fixture
def running():
    """The modules that run a forward pass during the test."""
    found = {}
    handle = register_module_forward_pre_hook(lambda module, _: found.update({id(module): module}))
    yield found
    handle.remove()


def run(*words):
    assert main([str(word) for word in words]) == 0


def assert_says_the_same(found, expected):
    """Compare two texts word by word, and their numbers as far as another CPU may compute them."""
    found, expected = (re.sub(r"\|v:[\w.+-]+", "|v:", text) for text in (found, expected))  # the version
    found = re.sub(r"; these have [\d.]+% of its probability", "", found)  # said since
    for before, now in REWORDED.items():
        expected = expected.replace(before, now)
    assert NUMBER.sub("#", found) == NUMBER.sub("#", expected)
    for ours, theirs in zip(NUMBER.findall(found), NUMBER.findall(expected), strict=True):
        last_place = 10.0 ** -len(theirs.partition(".")[2])
        assert float(ours) == pytest.approx(float(theirs), rel=1e-5, abs=1.5 * last_place * ("." in theirs))


def load(path):
    return torch.load(path, weights_only=False)


def train(name, save_dir, *more):
    """Train with the flags of a training that there was, in its folder."""
    run_train(*EXPECTED["trainings"][name], "--save-dir", save_dir, *more)


# -- checkpoints ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXPECTED["trainings"])
def test_a_training_goes_on(enter, tmp_path, name):
    """As the code that wrote the checkpoint would have gone on, with the same caches and tokenised text."""
    group, own = name.split("/")
    enter(group)
    shutil.copytree(own, tmp_path / own)
    before = load(Path(own, "checkpoint_last.pt"))
    done = before["optimizer_history"][-1]["num_updates"]
    train(name, tmp_path / own, "--max-update", done + 1)
    after = load(tmp_path / own / "checkpoint_last.pt")
    assert after["optimizer_history"][-1] == {**before["optimizer_history"][-1], "num_updates": done + 1}
    noted_since = {*ENTRIES, OPTIMIZED, PATIENCE}
    assert after["task_state"].keys() - before["task_state"].keys() <= noted_since
    for key in before["task_state"].keys() - {"previous_training_time"}:
        assert after["task_state"][key] == before["task_state"][key], key
    for ours, theirs in zip(*(steps_of_optimizer(state) for state in (after, before)), strict=True):
        assert ours == theirs + 1
    expected = load_file(Path("after", f"{own}.safetensors"))
    found = weights_of(after)
    assert found.keys() == expected.keys() == weights_of(before).keys()
    for key, tensor in expected.items():
        near = 1e-2 if KEY_BIAS.search(key) else 1e-6
        torch.testing.assert_close(found[key], tensor, rtol=1e-5, atol=near, msg=lambda m, k=key: f"{k}: {m}")
    assert any(not torch.equal(found[key], tensor) for key, tensor in weights_of(before).items())


def steps_of_optimizer(state):
    return [int(entry["step"]) for entry in state["last_optimizer_state"]["state"].values()]


def weights_of(state):
    """Weights of a checkpoint's model, and of what its criterion trains."""
    own = {f"criterion.{name}": tensor for name, tensor in (state["criterion"] or {}).items()}
    return {name: tensor for name, tensor in {**state["model"], **own}.items() if tensor.is_floating_point()}


@pytest.mark.parametrize(("name", "students"), [("pkd", 1), ("bilstm", 0), ("multitask", 1)])
def test_a_cache_stands_for_the_teacher(enter, tmp_path, running, name, students):
    """With the cache only the student runs, however old the cache; without, the teacher too."""

    def berts(*more):
        running.clear()
        train(f"classification/{name}", tmp_path / "new", "--no-save", "--max-update", 1, *more)
        return sum(isinstance(module, transformers.BertModel) for module in running.values())

    enter("classification")
    assert berts() == students
    assert berts("--teacher-cache", "") == students + 1


def test_a_cache_stands_for_a_translator(enter, tmp_path, running):
    """With the cache only the student runs; without, its teacher too."""

    def encoders(*more):
        running.clear()
        train("states/student", tmp_path / "new", "--no-save", "--max-update", 1, *more)
        return sum(isinstance(module, TransformerEncoderBase) for module in running.values())

    enter("states")
    assert encoders() == 1
    assert encoders("--teacher-cache", "") == 2


def test_a_hypothesis_stays_the_same(enter):
    generated = EXPECTED["generated"]
    enter(generated["group"])
    lines = (line.split("\t") for line in run_generate(*generated["flags"]).splitlines())
    found = {line[0]: line[1:] for line in lines if line[0].startswith("H-")}
    assert found.keys() == generated["hypotheses"].keys()
    for name, (score, text) in generated["hypotheses"].items():
        assert found[name][1] == text
        assert float(found[name][0]) == pytest.approx(score, rel=1e-4)


# -- what commands print --------------------------------------------------------------------------------


@pytest.mark.parametrize("noted", EXPECTED["commands"], ids=lambda noted: " ".join(noted["words"])[:40])
def test_a_command_says_what_it_said(enter, capsys, noted):
    enter(noted["group"])
    capsys.readouterr()
    run(*noted["words"])
    found, expected = capsys.readouterr().out, noted["printed"]
    if noted["words"][0] == "compare-seeds":  # its test of the difference is another one since
        found, expected = (text.partition("\n\n")[0] for text in (found, expected))
    assert_says_the_same(found, expected)


def test_results_are_written_as_they_were(enter, tmp_path):
    enter(EXPECTED["results"]["group"])
    output = ("--predictions", tmp_path / "predictions", "--output", tmp_path / "results.json")
    run(*EXPECTED["results"]["words"], *output)
    files = [Path("results.json"), *sorted(Path("predictions").iterdir())]
    assert len(files) == 5
    for path in files:
        assert_says_the_same((tmp_path / path).read_text(), path.read_text())


# -- stores ---------------------------------------------------------------------------------------------


def test_a_store_has_the_rows_that_were_written(enter):
    enter("translation")
    store, expected = SoftTargetStore.open("store", checksums=True), EXPECTED["store"]
    assert (store.k, list(store.tail_temperatures)) == (expected["k"], expected["tail_temperatures"])
    assert store.signature == expected["signature"]
    assert store.lengths.tolist() == expected["lengths"]
    for row, values in expected["rows"].items():
        found = store[int(row)]
        assert (found is None) == (values is None)
        assert found is None or {k: v.tolist() for k, v in found._asdict().items()} == values


@pytest.mark.parametrize("teacher", ["cmlm/checkpoint_last.pt", "exported"])
def test_a_complete_store_is_left_alone(enter, running, teacher):
    enter("translation")
    run("dump", "data", "--teacher", teacher, "--output", "store", *SMALL)
    assert not running


@pytest.mark.parametrize("teacher", ["cmlm/checkpoint_last.pt", "exported"])
def test_a_teacher_believes_what_it_believed(enter, tmp_path, teacher):
    enter("translation")
    run("dump", "data", "--teacher", teacher, "--output", tmp_path / "store", *SMALL)
    assert_same_beliefs(SoftTargetStore.open(tmp_path / "store"))


def test_an_unfinished_store_is_finished(enter, tmp_path):
    enter("translation")
    store = Path(shutil.copytree("unfinished", tmp_path / "store"))
    before = fingerprints(store)
    run("dump", "data", "--teacher", "cmlm/checkpoint_last.pt", "--output", store, *SMALL)
    after = fingerprints(store)
    shards = [path for path in before if path.suffix == ".arrow"]
    assert shards and all(after[path] == before[path] for path in shards)
    assert_same_beliefs(SoftTargetStore.open(store))


def assert_same_beliefs(found):
    """Compare a store with the one that was written then, as far as another CPU may compute it."""
    expected = SoftTargetStore.open("store")
    assert found.lengths.tolist() == expected.lengths.tolist()
    for ours, theirs in zip(found, expected, strict=True):
        if theirs is not None:
            assert (ours.ids == theirs.ids).mean() > 0.9  # equals may change places
            np.testing.assert_allclose(ours.logits.astype(float), theirs.logits.astype(float), **HALF)
            np.testing.assert_allclose(ours.tail.astype(float), theirs.tail.astype(float), **HALF)


# -- exports --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXPECTED["logits"])
def test_an_export_has_the_logits_that_it_had(enter, name):
    group, _, directory = name.partition("/")
    expected = EXPECTED["logits"][name]
    enter(group)
    pieces = transformers.AutoTokenizer.from_pretrained(directory)
    model = getattr(transformers, expected["class"]).from_pretrained(directory).eval()
    with torch.no_grad():
        logits = model(**pieces(expected["texts"], padding=True, return_tensors="pt")).logits
    saved = load_file(Path("logits", f"{Path(directory).name}.safetensors"))["logits"]
    torch.testing.assert_close(logits, saved, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", EXPECTED["exports"])
def test_a_checkpoint_is_exported_as_it_was(enter, tmp_path, name):
    """The same files, the same weights, the same settings but for the version of transformers."""
    group, _, directory = name.partition("/")
    enter(group)
    run(*EXPECTED["exports"][name], "--output", tmp_path / "again")
    files = sorted(path.name for path in Path(directory).iterdir() if path.is_file())
    written = {path.name for path in (tmp_path / "again").iterdir()}
    assert written - {"README.md", "export.json"} == set(files) - {"README.md", "export.json"}  # new since
    for found, earlier in ((tmp_path / "again" / file, Path(directory, file)) for file in files):
        if found.suffix == ".safetensors":
            torch.testing.assert_close(load_file(found), load_file(earlier), rtol=0, atol=0)
        elif found.suffix == ".json":
            assert settings_in(found) == settings_in(earlier)
        else:
            assert found.read_bytes() == earlier.read_bytes()


def settings_in(path):
    document = json.loads(path.read_text(encoding="utf-8"))
    since = (
        *("checksums", "manifest_sha256"),  # of cmlm.json
        *("model_input_names", "tokenizer_class", "is_local", "local_files_only"),  # of tokenizer_config.json
    )
    return {name: value for name, value in document.items() if name not in ("transformers_version", *since)}
