"""examples/new_criterion: exactly what its README says, in a process of its own."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import torch
from tiny_classification import write_bert, write_sst2

from cmlm_kd.fairseq_files.checkpoints import read_checkpoint

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "new_criterion"


def test_the_readme_runs(tmp_path):
    (commands,) = re.findall(r"```bash\n(.*?)```", (EXAMPLE / "README.md").read_text(), re.DOTALL)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "DATA": str(write_sst2(tmp_path / "sst2")),
        "TEACHER": str(write_bert(tmp_path / "teacher")),
        "SAVE": str(tmp_path / "student"),
    }
    done = subprocess.run(
        ["bash", "-e", "-c", commands], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "| student |" in done.stdout and "| teacher |" in done.stdout
    state = read_checkpoint(tmp_path / "student" / "checkpoint_best.pt")
    assert state["cfg"]["criterion"]["_name"] == "reverse_kl"


def test_it_is_short():
    assert len((EXAMPLE / "__init__.py").read_text().splitlines()) < 40


def test_it_is_one_file_that_imports_from_the_public_interface_alone():
    assert sorted(path.name for path in EXAMPLE.iterdir() if path.is_file()) == ["README.md", "__init__.py"]
    tree = ast.parse((EXAMPLE / "__init__.py").read_text())
    ours = [
        node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module.startswith("cmlm_kd")
    ]
    assert ours == ["cmlm_kd.api"]


def test_its_loss_is_the_reverse_divergence():
    """KL(student | teacher) of the golden logits, FastBERT's row in the paper's direction."""
    program = (
        "import math, sys, torch\n"
        f"sys.path.insert(0, {str(EXAMPLE.parent)!r}); sys.path.insert(0, {str(ROOT)!r})\n"
        "import new_criterion\n"
        "from cmlm_kd.api import ModelOutput, TeacherSignal\n"
        "def g(shape, phase, scale):\n"
        "    steps = torch.arange(math.prod(shape), dtype=torch.float64)\n"
        "    return (scale * torch.sin(phase + 0.7 * steps)).reshape(shape)\n"
        "criterion = new_criterion.ReverseKL(new_criterion.ReverseKLConfig(kd_alpha=1.0))\n"
        "logits = g((4, 3), 0.1, 2).requires_grad_()\n"
        "output = criterion.training_loss(\n"
        "    ModelOutput(logits=logits),\n"
        "    torch.tensor([0, 2, 1, 2]),\n"
        "    TeacherSignal.of_logits(g((4, 3), 1.3, 3)),\n"
        ")\n"
        "(output.loss / 4).backward()\n"
        "print(output.loss.item() / 4, logits.grad.norm().item(), logits.grad[0, 0].item())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    found = torch.tensor([float(value) for value in done.stdout.split()[-3:]], dtype=torch.float64)
    wanted = torch.tensor([0.5401196670, 0.3129079116, -0.0578155277], dtype=torch.float64)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-8)
