"""Git LFS pointers in the place of weights, tokenizers, checkpoints, text and saved data sets."""

import shutil
from pathlib import Path

import pytest
from tiny_classification import write_bert

from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.checkpoints import read_checkpoint
from cmlm_kd.models.classifier import load_classifier
from cmlm_kd.models.encoders.pretrained import load_masked_lm
from cmlm_kd.system.checksums import FileRecord, check_files
from cmlm_kd.system.git_lfs import pointer_in
from cmlm_kd.system.text import read_lines
from cmlm_kd.tokenization.loading import load_tokenizer

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 438235074\n"


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return write_bert(tmp_path_factory.mktemp("bert") / "bert", layers=1)


@pytest.mark.parametrize(
    ("file", "load"),
    [
        ("model.safetensors", load_classifier),
        ("model.safetensors", load_masked_lm),
        ("tokenizer.json", load_tokenizer),
        ("config.json", load_masked_lm),
    ],
)
def test_a_directory_with_a_pointer(bert, tmp_path, file, load):
    folder = shutil.copytree(bert, tmp_path / "copy")
    (folder / file).write_text(POINTER)
    with pytest.raises(UserError, match=f"{file} is a Git LFS pointer, .*'git lfs pull'"):
        load(str(folder))


@pytest.mark.parametrize(
    ("name", "read"),
    [("a.txt", read_lines), ("a.txt.gz", read_lines), ("checkpoint_best.pt", read_checkpoint)],
)
def test_a_file_that_is_a_pointer(tmp_path, name, read):
    (tmp_path / name).write_text(POINTER)
    with pytest.raises(UserError, match=f"{name} is a Git LFS pointer"):
        read(tmp_path / name)


def test_a_pointer_where_a_manifest_knows_more(tmp_path):
    """Such as in a clone of what 'cmlm-kd export' wrote, where it would be taken for damage."""
    (tmp_path / "model.safetensors").write_text(POINTER)
    with pytest.raises(UserError, match=r"model\.safetensors is a Git LFS pointer"):
        check_files(tmp_path, {"model.safetensors": FileRecord(438235074, "0" * 64)}, "export again")


def test_what_is_no_pointer(bert, tmp_path):
    assert pointer_in(bert) is None and pointer_in(tmp_path / "nothing") is None
    (tmp_path / "text").write_text("version https://git-lfs is a text\n")
    assert pointer_in(Path(tmp_path / "text")) is None
