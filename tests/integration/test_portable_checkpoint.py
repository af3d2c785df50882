"""A student trained with the plug-in decodes in a process that never saw it."""

import subprocess
import sys

import pytest
import torch
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterionConfig
from fairseq.tasks.translation import TranslationConfig
from fairseq_runs import TINY_STUDENT, run_generate, run_train
from tiny_corpus import write_split, write_store

from cmlm_kd.cli import main
from cmlm_kd.evaluation.generation import read_hypotheses
from cmlm_kd.fairseq_files.checkpoints import count_parameters, read_checkpoint
from cmlm_kd.fairseq_files.portable import STOCK_CRITERION_FIELDS, STOCK_TASK_FIELDS

TINY_LSTM = (
    *("--arch", "lstm", "--encoder-embed-dim", 8, "--decoder-embed-dim", 8, "--encoder-hidden-size", 8),
    *(
        "--decoder-hidden-size",
        8,
        "--decoder-out-embed-dim",
        8,
        "--optimizer",
        "adam",
        "--lr",
        0.001,
        "--cpu",
    ),
)


def test_the_stock_settings_are_fairseqs():
    def names(config):
        return {name for name in config.__dataclass_fields__ if name == "_name" or not name.startswith("_")}

    assert names(TranslationConfig) == STOCK_TASK_FIELDS
    assert names(LabelSmoothedCrossEntropyCriterionConfig) == STOCK_CRITERION_FIELDS


STUDENTS = {"transformer": TINY_STUDENT, "lstm": TINY_LSTM}
SENTENCES = 11
DECODE_EACH = """
import contextlib, sys
from fairseq_cli import generate
flags, names = sys.argv[1:-2], sys.argv[-2:]
for name in names:
    sys.argv[1:] = [*flags, "--path", f"{name}.pt"]
    with open(f"{name}.txt", "w") as output, contextlib.redirect_stdout(output):
        generate.cli_main()
assert "fairseq_plugins" not in sys.modules and "cmlm_kd" not in sys.modules
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A data-bin, and the folder of each student's checkpoints: two epochs with soft targets."""
    root = tmp_path_factory.mktemp("trained")
    for seed, (split, rows) in enumerate({"train": 24, "valid": 8, "test": SENTENCES}.items()):
        write_split(root / "data", split, rows, seed)
    store = write_store(root / "store", root / "data")
    for name, student in STUDENTS.items():
        run_train(
            *(
                root / "data",
                "--task",
                "translation_kd",
                "--soft-targets",
                store,
                "--criterion",
                "soft_target_kd",
            ),
            *("--kd-topk", 3, *student, "--max-tokens", 200, "--max-epoch", 2, "--save-dir", root / name),
            *("--eval-bleu", "--eval-bleu-args", '{"beam": 1, "max_len_a": 0, "max_len_b": 5}'),
            *("--required-batch-size-multiple", 1),
        )
    return root


def test_portable_average_decodes_without_the_plugin(trained, tmp_path):
    for name in STUDENTS:
        average = ["average", "--dir", str(trained / name), "--last", "2", "--output"]
        assert main([*average, str(tmp_path / f"{name}.pt"), "--portable"]) == 0
        torch.load(tmp_path / f"{name}.pt", weights_only=True)  # as it is, nothing allowed on top

    flags = [trained / "data", "--required-batch-size-multiple", 1, "--beam", 2, "--max-len-b", 5, "--cpu"]
    command = [sys.executable, "-c", DECODE_EACH, *flags, *STUDENTS]
    done = subprocess.run(list(map(str, command)), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    for name in STUDENTS:  # the same weights, not made portable, decode to the same with the plug-in
        average = tmp_path / f"{name}-average.pt"
        assert main(["average", "--dir", str(trained / name), "--last", "2", "--output", str(average)]) == 0
        (tmp_path / f"{name}-plugin.txt").write_text(run_generate(*flags, "--path", average))
        alone, together = (
            read_hypotheses(tmp_path / f"{name}{end}.txt", SENTENCES) for end in ("", "-plugin")
        )
        assert alone == together
        counts = {count_parameters(read_checkpoint(path)) for path in (average, tmp_path / f"{name}.pt")}
        assert len(counts) == 1 and counts != {0}
