"""The commands of docs/hydra.md, word for word: plug-in components through fairseq-hydra-train."""

import os
import subprocess
import sys

import pytest
import torch
from documentation import REPOSITORY, commands
from tiny_corpus import write_split, write_store
from tiny_teacher import write_bert

from cmlm_kd.cli import main
from cmlm_kd.system.user_dir import plugin_directory

TEACHER, STUDENT, WITHOUT_A_FILE = commands("docs/hydra.md")
FOR_TWO_UPDATES = (f"common.user_dir={plugin_directory()}", "optimization.max_update=2", "common.cpu=true")
SIDES = ("encoder", "decoder")
NESTED = [f"model.{side}.{name}" for side in SIDES for name in ("embed_dim=8", "ffn_embed_dim=8", "layers=1")]
FLAT = [f"+{field.replace('coder.', 'coder_')}" for field in NESTED]


def start(folder, words, *more):
    """Start a command of the page in a folder."""
    assert words[0] == "fairseq-hydra-train"
    (folder / "examples").symlink_to(REPOSITORY / "examples")
    code = "from fairseq_cli.hydra_train import cli_main; cli_main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *words[1:], *more, *FOR_TWO_UPDATES],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """One folder to train a teacher in, and two for students, with what the commands name in them."""
    root = tmp_path_factory.mktemp("folders")
    for name in ("teacher", "student", "without-a-file"):
        (root / name).mkdir()
    for seed, split in enumerate(("train", "valid")):
        write_split(root / "student" / "data-bin", split, 20, seed)
    write_store(root / "student" / "soft-targets", root / "student" / "data-bin", k=8)
    for name in ("data-bin", "soft-targets"):
        (root / "without-a-file" / name).symlink_to(root / "student" / name)
    lines = ["eins zwei drei", "zwei vier", "drei eins eins vier"] * 4
    for name in ("train.de", "train.en", "valid.de", "valid.en"):
        (root / name).write_text("\n".join(lines) + "\n")
    files = {"teacher": write_bert(root / "bert", lines), "destdir": root / "teacher" / "data-bin"}
    files |= {"trainpref": root / "train", "validpref": root / "valid"}
    arguments = [text for name, path in files.items() for text in (f"--{name}", str(path))]
    assert main(["prepare", "-s", "de", "-t", "en", *arguments]) == 0
    return root


def test_the_commands_that_work(folders):
    running = {
        "teacher/teacher": start(folders / "teacher", TEACHER),
        "student/student": start(folders / "student", STUDENT, *NESTED, "criterion.kd_alpha=0.25"),
        "without-a-file/checkpoints": start(folders / "without-a-file", WITHOUT_A_FILE, *FLAT),
    }
    settings = {}
    for checkpoints, process in running.items():
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output[-4000:]
        state = torch.load(folders / checkpoints / "checkpoint_last.pt", weights_only=True)
        assert state["optimizer_history"][-1]["num_updates"] == 2
        settings[checkpoints] = state["cfg"]
    assert settings["teacher/teacher"]["task"]["_name"] == "cmlm"
    for checkpoints, alpha in (("student/student", 0.25), ("without-a-file/checkpoints", 0.5)):
        assert settings[checkpoints]["criterion"]["_name"] == "soft_target_kd"
        assert settings[checkpoints]["criterion"]["kd_alpha"] == alpha
