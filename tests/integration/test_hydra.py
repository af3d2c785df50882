"""The commands of docs/hydra.md: plug-in components through fairseq-hydra-train."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_corpus import write_split, write_store
from tiny_teacher import write_bert

from cmlm_kd.cli import main
from cmlm_kd.user_dir import plugin_directory

REPOSITORY = Path(__file__).resolve().parents[2]
SMALL = [
    f"model.{side}.{name}" for side in ("encoder", "decoder") for name in ("embed_dim=8", "ffn_embed_dim=8")
]


def start(folder, *overrides, config=None):
    """Start fairseq-hydra-train for two updates."""
    code = "from fairseq_cli.hydra_train import cli_main; cli_main()"
    named = ["--config-dir", str(REPOSITORY / "examples/translation/hydra"), "--config-name", config]
    return subprocess.Popen(
        [
            *(sys.executable, "-c", code, *(named if config else []), *map(str, overrides)),
            *(f"common.user_dir={plugin_directory()}", "optimization.max_update=2", "common.cpu=true"),
        ],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for seed, split in enumerate(("train", "valid")):
        write_split(root / "bin", split, 20, seed)
    write_store(root / "store", root / "bin", k=8)
    lines = ["eins zwei drei", "zwei vier", "drei eins eins vier"] * 4
    for name in ("train.de", "train.en", "valid.de", "valid.en"):
        (root / name).write_text("\n".join(lines) + "\n")
    files = {"teacher": write_bert(root / "bert", lines), "destdir": root / "prepared"}
    files |= {"trainpref": root / "train", "validpref": root / "valid"}
    arguments = [text for name, path in files.items() for text in (f"--{name}", str(path))]
    assert main(["prepare", "-s", "de", "-t", "en", *arguments]) == 0
    return root


def test_the_commands_that_work(data, tmp_path):
    running = {
        "teacher": start(tmp_path, f"task.data={data / 'prepared'}", config="teacher"),
        "student": start(
            tmp_path,
            *(f"task.data={data / 'bin'}", f"task.soft_targets={data / 'store'}", *SMALL),
            *("model.encoder.layers=1", "model.decoder.layers=1", "criterion.kd_alpha=0.25"),
            config="student",
        ),
    }
    for name, process in running.items():
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output[-4000:]
        state = torch.load(tmp_path / name / "checkpoint_last.pt", weights_only=True)
        assert state["optimizer_history"][-1]["num_updates"] == 2
        running[name] = state["cfg"]
    assert running["teacher"]["task"]["_name"] == "cmlm"
    assert running["student"]["criterion"]["_name"] == "soft_target_kd"
    assert running["student"]["criterion"]["kd_alpha"] == 0.25
