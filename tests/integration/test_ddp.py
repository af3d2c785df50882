"""Two processes on CPU learn what one process learns from the same batches."""

import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fairseq_runs import TINY_STUDENT, run_train
from tiny_classification import classification, write_sst2
from tiny_classification import write_bert as write_classifier
from tiny_corpus import write_split, write_store
from tiny_multitask import multitask, write_tasks, write_teachers
from tiny_next_tokens import train_translator
from tiny_teacher import write_bert
from tiny_text import pretraining, write_masked_lm, write_text

from cmlm_kd.cli import main

HELPERS = Path(__file__).resolve().parents[1] / "helpers"
WORLD_SIZE = 2
NO_DROPOUT = ("--dropout", 0)  # every process draws its own


def sentences(number):
    """Pairs of different lengths."""
    words = ["eins", "zwei", "drei", "vier"]
    source = [" ".join(words[(row + place) % 4] for place in range(1 + row % 5)) for row in range(number)]
    return source, [line.replace("ei", "oa") for line in source]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Flags of each training, by name."""
    root = tmp_path_factory.mktemp("data")
    for seed, (split, rows) in enumerate({"train": 53, "valid": 9}.items()):
        write_split(root / "bin", split, rows, seed)
    store = write_store(root / "store", root / "bin")

    source, target = sentences(61)
    for split, last in (("train", 61), ("valid", 7)):
        (root / f"{split}.de").write_text("\n".join(source[:last]) + "\n")
        (root / f"{split}.en").write_text("\n".join(target[:last]) + "\n")
    bert = write_bert(root / "bert", source + target)
    prepare = ["prepare", "--teacher", bert, "-s", "de", "-t", "en", "--destdir", root / "prepared"]
    files = ["--trainpref", root / "train", "--validpref", root / "valid"]
    assert main([*map(str, prepare), *map(str, files)]) == 0

    common = (*NO_DROPOUT, "--max-update", 5, "--no-epoch-checkpoints", "--seed", 3)
    student = (
        *(root / "bin", "--task", "translation_kd", "--soft-targets", store, *TINY_STUDENT, *common),
        *("--criterion", "soft_target_kd", "--kd-topk", 3, "--kd-implementation", "fused"),
        *("--max-tokens", 90, "--clip-norm", 0.5),
    )
    teacher = (
        *(root / "prepared", "--task", "cmlm", "--criterion", "cmlm", "--arch", "bert_cmlm", *common),
        *("--optimizer", "bert_adamw", "--lr", 1e-3, "--max-tokens", 200, "--cpu"),
    )
    online = (
        *(root / "bin", "--task", "translation_kd", "--online-teacher", translator(root), *TINY_STUDENT),
        *(*common, "--criterion", "soft_target_kd", "--kd-topk", 3, "--max-tokens", 90),
        *("--optimizer", "fused_adam", "--adam-eps", 1e-5),
    )
    further_passes = (*online, "--criterion", "tie_kd", "--kd-iterations", 2)
    states = (*online, "--criterion", "hidden_state_kd", "--teacher-cache", root / "states")
    trainings = {
        "student": student,
        "online": online,
        "further_passes": further_passes,
        "states": states,
        "teacher": teacher,
    }
    return {**trainings, **classifiers(root), **on_text(root)}


def translator(root):
    """A teacher that is asked in the step, by each process for its own sentences."""
    return train_translator(root / "translator", root / "bin", "--cpu")


def without_save_dir(flags):
    place = flags.index("--save-dir")
    return (*flags[:place], *flags[place + 2 :])


def on_text(root):
    """Both processes cut the text into pieces, one of them waiting; what is hidden depends on the batch."""
    bert, text = write_masked_lm(root / "masked-lm"), write_text(root / "text")
    flags = (*NO_DROPOUT, "--teacher", bert, "--init-layers", "0,2", "--masking", "frequency")
    distilbert = pretraining(text, root, *flags, "--max-update", 5)
    return {"distilbert_kd": without_save_dir(distilbert), "mobilebert_kd": progressive(root, text, bert)}


def progressive(root, text, tokenizer):
    """Layers in turns, each alone with a gradient, then predictions; a teacher that was hardly trained."""
    sizes = ("--layers", 2, "--hidden-size", 16, "--heads", 2, "--ffn-size", 12, "--embedding-size", 8)
    shape = (*NO_DROPOUT, *sizes, "--positions", 40, "--bottleneck-size", 8)
    flags = ("--bert-tokenizer", tokenizer, *shape)
    run_train(*pretraining(text, root / "ib", *flags, criterion="bert_mlm", arch="ib_bert"))
    export = ["export", root / "ib" / "checkpoint_last.pt", "--output", root / "ib-bert"]
    assert main([str(word) for word in export]) == 0
    flags = (*shape, "--teacher", root / "ib-bert", "--kd-transfer-updates", 4, "--optimizer", "bert_lamb")
    student = pretraining(text, root, *flags, "--max-update", 6, criterion="mobilebert_kd", arch="mobilebert")
    return without_save_dir(student)


def classifiers(root):
    """One with a cache, which the first process writes, and one whose criterion has weights of its own."""
    data = write_sst2(root / "sst2", dev=21)  # an odd number of batches: one process validates on a dummy
    best = ("--best-checkpoint-metric", "accuracy", "--maximize-best-checkpoint-metric")
    taught = (*NO_DROPOUT, "--teacher", write_classifier(root / "classifier"), "--max-update", 5, *best)
    students = {
        "pkd": ("--layers", 2, "--teacher-cache", root / "cache"),
        "tinybert_kd": ("--layers", 2, "--kd-projection", "shared", "--kd-mode", "original"),
    }
    runs = {}
    for criterion, flags in students.items():
        runs[criterion] = without_save_dir(
            classification(data, root, *taught, *flags, bert=root / "classifier", criterion=criterion)
        )
    return {**runs, "mtdnn_kd": several_tasks(root)}


def several_tasks(root):
    """The processes are at different tasks at a time, some of which have teachers."""
    write_tasks(root / "glue")
    write_teachers(root)
    write_classifier(root / "encoder", labels=None, layers=2)
    taught = ("--teacher", f"SST-2={root / 'sst-a'}:{root / 'sst-b'},QNLI={root / 'answers'}")
    best = ("--best-checkpoint-metric", "score", "--maximize-best-checkpoint-metric")
    return without_save_dir(multitask(root, root, *NO_DROPOUT, *taught, "--max-update", 5, *best))


@pytest.fixture(scope="module")
def parallel(runs, tmp_path_factory):
    """Folder with the checkpoints of each training by two processes, and how each run ended, rank by rank."""
    root = tmp_path_factory.mktemp("parallel")
    legacy = ("--ddp-backend", "legacy_ddp")
    commands = [(*flags, *legacy, "--save-dir", root / name) for name, flags in runs.items()]
    unused = ("--find-unused-parameters", "--ddp-backend", "c10d", "--save-dir", root / "refused")
    commands.append((*runs["student"], *unused))
    (root / "commands.json").write_text(json.dumps([[str(flag) for flag in command] for command in commands]))
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    worker = [sys.executable, HELPERS / "distributed_worker.py"]
    processes = [
        subprocess.Popen(
            [*worker, str(rank), str(WORLD_SIZE), str(port), root / "commands.json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for rank in range(WORLD_SIZE)
    ]
    try:
        outputs = [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors[-4000:]
    return root, [json.loads(printed) for printed, _ in outputs]


LOGGED = (
    *("loss", "nll_loss", "hard_loss", "kd_loss", "kd_tokens", "without_teacher", "accuracy", "gnorm"),
    *("kl_loss", "cosine_loss", "hard_labels_alone", "SST-2_kd_loss", "RTE_hard_loss", "STS-B_hard_loss"),
    *("feature_map_loss", "attention_loss", "distillation_loss", "kd_kl", "ranking_loss", "agreement"),
)


def read(path):
    """Return the weights and what was logged, in training as sums over the last epoch."""
    state = torch.load(path / "checkpoint_last.pt", weights_only=True)
    meters = {name: value for _, name, _, value in state["extra_state"]["metrics"]["train"]}
    logged = {name: float(meters[name]["sum"]) for name in LOGGED if name in meters}
    weights = {**state["model"], **(state["criterion"] or {})}
    return weights, {**logged, "val_loss": float(state["extra_state"]["val_loss"])}


COUNTS = {
    **{
        "student": 8,
        "online": 8,
        "further_passes": 10,
        "states": 8,
        "teacher": 4,
        "pkd": 5,
        "tinybert_kd": 4,
        "mtdnn_kd": 7,
    },
    **{"distilbert_kd": 5, "mobilebert_kd": 6},
}
"""How many of these each criterion logs."""


@pytest.mark.parametrize("name", COUNTS)
def test_two_processes_learn_what_one_learns(runs, parallel, tmp_path, name):
    run_train(*runs[name], "--update-freq", WORLD_SIZE, "--save-dir", tmp_path)
    weights, logged = read(tmp_path)
    root, ended = parallel
    assert [messages[list(runs).index(name)] for messages in ended] == [None] * WORLD_SIZE
    parallel_weights, parallel_logged = read(root / name)

    assert parallel_logged == pytest.approx(logged, rel=1e-4)
    assert len(logged) == COUNTS[name]
    assert weights.keys() == parallel_weights.keys()
    for key, value in weights.items():
        torch.testing.assert_close(parallel_weights[key], value, rtol=1e-4, atol=1e-6)


def test_unused_parameters_are_refused_with_the_fused_loss(parallel):
    _, ended = parallel
    for messages in ended:
        assert messages[-1].startswith("soft_target_kd: --find-unused-parameters with --ddp-backend c10d")
        assert "--kd-implementation dense" in messages[-1]
