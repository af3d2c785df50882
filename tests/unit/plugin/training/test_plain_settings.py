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
