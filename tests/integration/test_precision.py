"""fairseq's own half precisions with soft targets: the same loss, or a refusal that says what to do."""

import pytest
import torch
from fairseq import utils
from fairseq_runs import TINY_STUDENT, build_task, run_train
from tiny_corpus import write_split, write_store

from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.checkpoints import read_checkpoint

IMPLEMENTATIONS = ("fused", "dense")


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for seed, split in enumerate(("train", "valid")):
        write_split(root / "bin", split, 30, seed)
    return (
        *(
            root / "bin",
            "--task",
            "translation_kd",
            "--soft-targets",
            write_store(root / "store", root / "bin"),
        ),
        *("--criterion", "soft_target_kd", "--kd-topk", 3, *TINY_STUDENT, "--dropout", 0, "--max-tokens", 90),
        *("--max-update", 3, "--no-epoch-checkpoints"),
    )


def logged(directory):
    """Return the losses of the last epoch's training, and the one of validation."""
    state = read_checkpoint(directory / "checkpoint_last.pt")
    meters = {name: value for _, name, _, value in state["extra_state"]["metrics"]["train"]}
    losses = {name: float(meters[name]["sum"]) for name in ("loss", "hard_loss", "kd_loss")}
    return {**losses, "valid": state["extra_state"]["val_loss"]}


@pytest.mark.parametrize("precision", [("--fp16", "--fp16-no-flatten-grads"), ("--memory-efficient-fp16",)])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_training_in_float16(flags, tmp_path, implementation, precision):
    for name, flag in (("float32", ()), ("float16", precision)):
        run_train(*flags, "--kd-implementation", implementation, *flag, "--save-dir", tmp_path / name)
    assert logged(tmp_path / "float16") == pytest.approx(logged(tmp_path / "float32"), rel=2e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_batch_and_a_model_cast_as_the_trainer_casts_them(flags, implementation, dtype):
    task, whole = build_task(*flags, "--kd-implementation", implementation)
    torch.manual_seed(1)
    model, criterion = task.build_model(whole.model).train(), task.build_criterion(whole.criterion)
    task.load_dataset("train", combine=True)
    batches = task.get_batch_iterator(task.dataset("train"), max_tokens=200).next_epoch_itr(shuffle=False)
    sample = next(iter(batches))
    expected, size, _ = criterion(model, sample)
    expected.backward()
    gradient = model.decoder.embed_tokens.weight.grad.clone()
    model.zero_grad()

    def cast(tensor):
        return tensor.to(dtype) if tensor.dtype is torch.float32 else tensor

    loss, _, _ = criterion(model.to(dtype), utils.apply_to_sample(cast, sample))
    (loss / size).backward()
    assert loss.dtype is torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=1e-2)
    rounded = model.decoder.embed_tokens.weight.grad.float() * size
    assert torch.nn.functional.cosine_similarity(rounded.flatten(), gradient.flatten(), dim=0) > 0.999


@pytest.mark.parametrize(
    ("precision", "message"),
    [
        ("--bf16", "--bf16 stands for a TPU .*pass --bf16-autocast instead"),
        ("--memory-efficient-bf16", "--bf16 stands for a TPU .*pass --bf16-autocast instead"),
        ("--fp16", "there is none; pass --fp16-no-flatten-grads as well, or --bf16-autocast"),
    ],
)
def test_what_fairseq_cannot_do_on_this_machine_is_refused(flags, tmp_path, monkeypatch, precision, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=message):
        run_train(*flags, precision, "--save-dir", tmp_path / "none")
    assert not (tmp_path / "none" / "checkpoint_last.pt").exists()


@pytest.mark.parametrize("precision", [("--fp16", "--fp16-no-flatten-grads"), ("--amp",)])
def test_two_precisions_at_once_are_refused(flags, tmp_path, precision):
    with pytest.raises(UserError, match="give one of the four"):
        run_train(*flags, *precision, "--bf16-autocast", "--save-dir", tmp_path)
