"""What a checkpoint must be made of."""

import argparse
import zipfile

import pytest
import torch
from fairseq import checkpoint_utils

import fairseq_plugins  # noqa: F401  # which looks at what fairseq loads
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.checkpoints import read_checkpoint, write_checkpoint

WHOLE = {
    "args": None,
    "cfg": {"_name": None, "model": argparse.Namespace(arch="transformer"), "task": {"data": "x"}},
    "model": {"weight": torch.zeros(2)},
    "criterion": None,
    "optimizer_history": [{"num_updates": 3}],
    "task_state": {},
    "extra_state": {"val_loss": 1.0},
    "last_optimizer_state": {"state": {}},
}


def test_a_whole_one_is_read(tmp_path):
    write_checkpoint(WHOLE, tmp_path / "x.pt")
    assert read_checkpoint(tmp_path / "x.pt")["optimizer_history"] == [{"num_updates": 3}]


@pytest.mark.parametrize("part", sorted({*WHOLE} - {"model", "criterion"}))
def test_a_part_of_another_type_is_named(tmp_path, part):
    write_checkpoint({**WHOLE, part: "text"}, tmp_path / "x.pt")
    with pytest.raises(UserError, match=f"x.pt is damaged: its {part} is of type str, and fairseq writes a "):
        read_checkpoint(tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"cfg": {"model": ["arch"]}}, r"its cfg\.model is of type list, .* a dictionary or a namespace"),
        ({"optimizer_history": [{}, 3]}, r"its optimizer_history\[1\] is of type int, .* a dictionary"),
    ],
)
def test_what_stands_inside_too(tmp_path, change, named):
    write_checkpoint({**WHOLE, **change}, tmp_path / "x.pt")
    with pytest.raises(UserError, match=named):
        read_checkpoint(tmp_path / "x.pt")


@pytest.mark.parametrize("part", sorted({*WHOLE} - {"model"}))
def test_a_part_may_be_missing(tmp_path, part):
    write_checkpoint({name: value for name, value in WHOLE.items() if name != part}, tmp_path / "x.pt")
    assert "model" in read_checkpoint(tmp_path / "x.pt")


@pytest.mark.parametrize("record", ["data/0", "data.pkl"])
def test_a_changed_bit_is_found(tmp_path, record):
    """In weights it would be another number, which nothing else can see."""
    path = tmp_path / "x.pt"
    write_checkpoint({**WHOLE, "model": {"weight": torch.ones(500)}}, path)
    read_checkpoint(path)
    with zipfile.ZipFile(path) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(f"/{record}"))
        start = archive.getinfo(name).header_offset
        held = archive.read(name)
    content = bytearray(path.read_bytes())
    content[content.index(held, start) + len(held) // 2] ^= 1
    path.write_bytes(content)
    message = f"^{path} is damaged: {name} in it is not what its checksum says; copy it again"
    with pytest.raises(UserError, match=message):
        read_checkpoint(path)
    with pytest.raises(UserError, match=message):
        checkpoint_utils.load_checkpoint_to_cpu(str(path))
