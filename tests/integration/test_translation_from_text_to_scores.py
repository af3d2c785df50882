"""The whole road on tiny data, by the commands of docs/road.md: from text to scored students."""

import json
import shutil

import pytest
import torch
from fairseq import models, tasks
from fairseq_runs import TINY_STUDENT, run_generate, run_interactive, run_train
from tiny_teacher import write_bert

from cmlm_kd.cli import main
from cmlm_kd.data.numbers import CorpusSizes, build_corpus
from cmlm_kd.evaluation.generation import read_hypotheses

LSTM = ["--arch", "lstm", "--optimizer", "adam", "--lr", 0.001, "--cpu"]
LSTM += ["--encoder-embed-dim", 8, "--encoder-hidden-size", 8]
LSTM += ["--decoder-embed-dim", 8, "--decoder-hidden-size", 8, "--decoder-out-embed-dim", 8]
LUONG = ["--arch", "lstm_luong_wmt_en_de", *LSTM[2:], "--encoder-layers", 1, "--decoder-layers", 1]
STUDENTS = {"transformer": TINY_STUDENT, "lstm": LSTM, "lstm_luong_wmt_en_de": LUONG}
TRAINING = ("--max-tokens", 400, "--max-epoch", 2)
DECODING = ("--task", "translation", "--beam", 2, "--max-len-a", 0, "--max-len-b", 8, "--cpu")


def cmlm_kd(*arguments):
    """Run a command of cmlm-kd, which must succeed."""
    assert main([str(argument) for argument in arguments]) == 0


def write_text(root, splits):
    """Write pairs as SPLIT.src and SPLIT.tgt; returns prepare's flags for them."""
    flags = []
    for split, pairs in splits.items():
        for side, suffix in enumerate(("src", "tgt")):
            (root / f"{split}.{suffix}").write_text(
                "".join(f"{pair[side]}\n" for pair in pairs), encoding="utf-8"
            )
        flags += [f"--{split}pref", root / split]
    return flags


def soft_targets_of(root, splits, *flags, **bert):
    """Go from text to a store: prepare, fine-tune, dump, verify; returns the manifest of the data."""
    lines = [text for pair in splits["train"] for text in pair]
    write_bert(root / "bert", lines, **bert)
    texts = write_text(root, splits)
    cmlm_kd(
        "prepare",
        "--teacher",
        root / "bert",
        "-s",
        "src",
        "-t",
        "tgt",
        *texts,
        "--destdir",
        root / "data",
        *flags,
    )
    run_train(
        *(root / "data", "--task", "cmlm", "--criterion", "cmlm", "--arch", "bert_cmlm"),
        *("--optimizer", "bert_adamw", "--lr", 1e-3, "--clip-norm", 1.0, "--bf16-autocast", "--cpu"),
        *("--max-tokens", 1000, "--max-update", 2, "--no-epoch-checkpoints", "--save-dir", root / "teacher"),
        *("--best-checkpoint-metric", "accuracy", "--maximize-best-checkpoint-metric"),
    )
    teacher = root / "teacher" / "checkpoint_best.pt"
    cmlm_kd("dump", root / "data", "--teacher", teacher, "--output", root / "store", "--topk", 4)
    cmlm_kd("verify", root / "store", "--data", root / "data")
    return json.loads((root / "data" / "prepare.json").read_text(encoding="utf-8"))


def train_student(root, name, *architecture):
    """Train with a teacher."""
    run_train(
        *(
            root / "data",
            "--task",
            "translation_kd",
            "--soft-targets",
            root / "store",
            *architecture,
            *TRAINING,
        ),
        *(
            "--criterion",
            "soft_target_kd",
            "--kd-topk",
            4,
            "--no-epoch-checkpoints",
            "--save-dir",
            root / name,
        ),
    )
    return root / name / "checkpoint_best.pt"


def generate(root, checkpoint, output):
    """Write what fairseq-generate prints for the test set."""
    stock = (root / "data", "-s", "src", "-t", "tgt", "--path", checkpoint, "--gen-subset", "test", *DECODING)
    output.write_text(run_generate(*stock, "--post-process", "sentencepiece"), encoding="utf-8")
    return output


@pytest.fixture(scope="module")
def translation(tmp_path_factory):
    """A folder with students of both kinds and one without a teacher, and the test pairs."""
    root = tmp_path_factory.mktemp("translation")
    corpus = build_corpus(1, CorpusSizes(pairs=60, valid=8, test=6, monolingual=1))
    manifest = soft_targets_of(root, corpus.parallel)
    assert {split: report["pairs"] for split, report in manifest["splits"].items()} == {
        split: len(pairs) for split, pairs in corpus.parallel.items()
    }
    for name, architecture in STUDENTS.items():
        train_student(root, name, *architecture)
    run_train(
        *(root / "data", "--task", "translation", *TINY_STUDENT, *TRAINING, "--no-epoch-checkpoints"),
        *(
            "--criterion",
            "label_smoothed_cross_entropy",
            "--label-smoothing",
            0.1,
            "--save-dir",
            root / "alone",
        ),
    )
    return root, corpus.parallel["test"]


def test_students_are_scored_against_the_one_without_a_teacher(translation, tmp_path):
    root, pairs = translation
    names = ["alone", *STUDENTS]
    files = [
        f"{name}={generate(root, root / name / 'checkpoint_best.pt', tmp_path / name)}" for name in names
    ]
    cmlm_kd(
        *("score", "--from-generate", "--hypothesis", *files, "--baseline", "alone", "--paired-bs-n", 50),
        *(
            "--reference",
            root / "data" / "raw" / "test.tgt",
            "--format",
            "json",
            "--output",
            tmp_path / "scores",
        ),
    )
    document = json.loads((tmp_path / "scores").read_text(encoding="utf-8"))
    assert document["sentences"] == len(pairs)
    assert [system["name"] for system in document["systems"]] == names
    for system in document["systems"]:
        tested = system["name"] != "alone"
        for score in system["scores"].values():
            assert score["score"] >= 0 and (score["p_value"] is not None) == tested


@pytest.mark.parametrize("name", STUDENTS)
def test_interactive_translates_raw_text(translation, tmp_path, name):
    root, pairs = translation
    (tmp_path / "text").write_text("".join(f"{source}\n" for source, _ in pairs), encoding="utf-8")
    output = run_interactive(
        *(tmp_path / "text", root / "data", "-s", "src", "-t", "tgt", *DECODING),
        *("--path", root / name / "checkpoint_best.pt"),
        *("--bpe", "teacher_pieces", "--teacher-tokenizer", root / "data" / "teacher"),
    )
    (tmp_path / "interactive").write_text(output, encoding="utf-8")
    generated = generate(root, root / name / "checkpoint_best.pt", tmp_path / "generated")
    found = read_hypotheses(tmp_path / "interactive", len(pairs))
    assert found == read_hypotheses(generated, len(pairs))


def test_converters_need_no_store(translation, tmp_path):
    """What CTranslate2's fairseq converter does: build the training task and the model from the settings."""
    root, _ = translation
    state = torch.load(root / "transformer" / "checkpoint_best.pt", weights_only=True)
    settings = state["cfg"]["model"]
    settings.data = str(shutil.copytree(root / "data", tmp_path / "data"))
    settings.soft_targets = str(tmp_path / "nowhere")
    task = tasks.setup_task(settings)
    assert type(task).__name__ == "TranslationKDTask"
    model = models.build_model(settings, task)
    model.load_state_dict(state["model"])
    assert len(task.target_dictionary) == model.decoder.embed_tokens.num_embeddings


def test_summaries_of_texts_longer_than_the_teacher(tmp_path):
    words = ["river", "bridge", "market", "winter", "letter", "garden"]

    def article(row):
        return " ".join(words[(row + place * place) % len(words)] for place in range(50 + row % 7))

    pairs = [(article(row), " ".join(words[row % 3 : row % 3 + 3]) + " .") for row in range(24)]
    pairs[5] = (article(5), "river " * 45)  # a summary that alone exceeds the teacher
    manifest = soft_targets_of(
        *(tmp_path, {"train": pairs, "valid": pairs[:4], "test": pairs[6:10]}, "--truncate-source"),
        max_positions=40,
    )
    report = manifest["splits"]["train"]
    assert (report["truncated_sources"], report["too_long_for_teacher"]) == (len(pairs) - 1, 1)
    store = json.loads((tmp_path / "store" / "manifest.json").read_text(encoding="utf-8"))
    assert store["rows_without_teacher"] == 1

    output = generate(tmp_path, train_student(tmp_path, "student", *TINY_STUDENT), tmp_path / "summaries")
    scored = ("--rouge", "--format", "json", "--output", tmp_path / "scores")
    cmlm_kd(
        "score",
        "--from-generate",
        "--hypothesis",
        output,
        "--reference",
        tmp_path / "data" / "raw" / "test.tgt",
        *scored,
    )
    (system,) = json.loads((tmp_path / "scores").read_text(encoding="utf-8"))["systems"]
    assert len([name for name in system["scores"] if name.lower().startswith("rouge")]) == 3
