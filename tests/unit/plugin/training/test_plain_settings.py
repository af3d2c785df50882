import pickle

import pytest
import torch
from fairseq import checkpoint_utils

import fairseq_plugins  # noqa: F401  (what it does is tested)
from cmlm_kd.errors import UserError


class LeavesATrace:
    """A stand-in for code in a pickle: it makes an empty file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("kind", ["pickle", "list", "nothing", "cut off", "program", "field"])
def test_what_is_no_checkpoint_is_named_and_never_run(tmp_path, kind):
    path, trace = tmp_path / "model.pt", tmp_path / "trace"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(LeavesATrace(trace)))
    elif kind == "program":
        torch.save({"model": {}, "args": None, "cfg": {"optimizer": {"adam_betas": "open('x')"}}}, path)
    elif kind == "field":
        torch.save({"model": {}, "args": None, "cfg": {}, "optimizer_history": "text"}, path)
    else:
        torch.save([1] if kind == "list" else {}, path)
        path.write_bytes(path.read_bytes()[: 40 if kind == "cut off" else None])
    with pytest.raises(UserError, match=rf"^{path}"):
        checkpoint_utils.load_checkpoint_to_cpu(str(path))
    assert not trace.exists()


@pytest.mark.parametrize("settings", ["text", {"common": {}}])
def test_settings_without_the_groups_that_every_model_has(tmp_path, settings):
    history = [{"optimizer_name": "adam", "lr_scheduler_state": {}, "num_updates": 1}]
    state = {"optimizer_history": history, "extra_state": {"train_iterator": {}}}
    torch.save({"model": {}, "args": None, "cfg": settings, **state}, tmp_path / "model.pt")
    with pytest.raises(
        UserError, match=r"model\.pt is damaged: its cfg has no task and no model; take another"
    ):
        checkpoint_utils.load_checkpoint_to_cpu(str(tmp_path / "model.pt"))
