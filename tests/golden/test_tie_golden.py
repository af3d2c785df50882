"""tie_kd against the released code, iterations included, value and gradient (provenance in the JSON)."""

import json
from pathlib import Path

import pytest
import torch

from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.signals import TeacherSignal
from cmlm_kd.criteria.tie import TieConfig, TieKD

GOLDEN = json.loads((Path(__file__).parent / "tie_losses.json").read_text())
PAD, VOCABULARY = 1, 11
TARGET = torch.tensor([[4, 7, 9, 2], [3, 5, 2, PAD], [6, 2, PAD, PAD]])
SOURCE = torch.tensor([[5, 8, 2], [6, 6, 2], [9, 4, 2]])
REAL = TARGET.ne(PAD)


def waves(rows, phase, scale):
    steps = torch.arange(rows * VOCABULARY, dtype=torch.float64)
    return (scale * torch.sin(phase + 0.7 * steps)).reshape(rows, VOCABULARY)


class Model:
    """A translator whose logits are a sum of tables: of the token before, the position and the source."""

    def __init__(self, phase, scale):
        self.after = waves(VOCABULARY, phase, scale).requires_grad_()
        self.of_source = waves(VOCABULARY, 2 * phase, scale / 2).requires_grad_()
        self.at = waves(4, phase + 1.3, scale / 2)
        self.at[:, PAD] -= 20.0

    def logits(self, target):
        before = torch.cat((torch.full((3, 1), 2), target[:, :-1]), 1)  # (B, T)
        return self.after[before] + self.at + self.of_source[SOURCE].sum(1)[:, None]  # (B, T, V)

    def as_student(self, target, implementation):
        def again(said):
            return self.as_student(said, implementation)

        logits = self.logits(target)
        if implementation == "dense":
            return ModelOutput(logits=logits, again=again)
        # An identity as output embedding makes hidden states of logits.
        return ModelOutput(features=logits, weight=torch.eye(VOCABULARY, dtype=torch.float64), again=again)

    def as_teacher(self, target):
        said = self.logits(target).detach()[REAL]  # (N, V)
        output = ModelOutput(logits=said, positions=REAL.flatten().nonzero().squeeze(1))
        return TeacherSignal((output,), again=self.as_teacher)


@pytest.mark.parametrize("implementation", ["dense", "fused"])
@pytest.mark.parametrize("run", GOLDEN["runs"], ids=lambda run: f"k{run['k']}-N{run['iterations']}")
def test_released_code(run, implementation):
    config = TieConfig(
        kd_alpha=run["kd_rate"], kd_topk=run["k"], kd_iterations=run["iterations"], kd_mode="original"
    )
    student, teacher = Model(0.25, 1.5), Model(0.8, 2.5)
    output = TieKD(config, PAD).training_loss(
        student.as_student(TARGET, implementation), TARGET, teacher.as_teacher(TARGET)
    )
    gradients = torch.autograd.grad(output.loss, [student.after, student.of_source])
    near = {"abs": 1e-8, "rel": 0}
    totals = {name: term.total.item() for name, term in output.terms.items()}
    assert output.loss.item() == pytest.approx(run["loss"], **near)
    assert totals["hard_loss"] == pytest.approx(run["mle_loss"], **near)
    assert totals["nll_loss"] == pytest.approx(run["nll_loss"], **near)
    for name, sums in (("kd_kl", "kl_of_iterations"), ("ranking_loss", "ranking_of_iterations")):
        assert totals[name] == pytest.approx(sum(run[sums]), **near)
    assert [gradient.norm().item() for gradient in gradients] == pytest.approx(run["gradient_norms"], **near)
    first = [gradient[:, 0].sum().item() for gradient in gradients]
    assert first == pytest.approx(run["gradients_of_first_entry"], **near)
