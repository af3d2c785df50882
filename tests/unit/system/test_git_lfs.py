"""Git LFS pointers in the place of weights, tokenizers, checkpoints, text, manifests and binarised data."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_classification import write_bert
from tiny_store import write_store

from cmlm_kd.data.translation.manifest import load_manifest as load_prepared
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.checkpoints import read_checkpoint
from cmlm_kd.fairseq_files.databin import Databin, read_dictionary, write_databin
from cmlm_kd.models.classifier import load_classifier
from cmlm_kd.models.encoders.pretrained import load_masked_lm
from cmlm_kd.models.translators.loading import read_tokenizer
from cmlm_kd.store import SoftTargetStore
from cmlm_kd.store.manifest import Manifest
from cmlm_kd.system.checksums import FileRecord, check_files
from cmlm_kd.system.git_lfs import pointer_in
from cmlm_kd.system.manifests import read_object
from cmlm_kd.system.text import read_lines
from cmlm_kd.tokenization.loading import load_tokenizer
from cmlm_kd.tokenization.sentencepiece import load_sentencepiece

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
        ("config.json", load_classifier),
        ("config.json", read_tokenizer),
        ("tokenizer_config.json", load_tokenizer),
    ],
)
def test_a_directory_with_a_pointer(bert, tmp_path, file, load):
    folder = shutil.copytree(bert, tmp_path / "copy")
    (folder / file).write_text(POINTER)
    with pytest.raises(UserError, match=f"{file} is a Git LFS pointer, .*'git lfs pull'"):
        load(str(folder))


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("a.txt", read_lines),
        ("a.txt.gz", read_lines),
        ("checkpoint_best.pt", read_checkpoint),
        ("sentencepiece.bpe.model", load_sentencepiece),
        ("dict.xx.txt", read_dictionary),
        ("config.json", lambda path: read_object(path, "save it again")),
        ("manifest.json", Manifest.read),
        ("prepare.json", lambda path: load_prepared(path.parent)),
    ],
)
def test_a_file_that_is_a_pointer(tmp_path, name, read):
    (tmp_path / name).write_text(POINTER)
    with pytest.raises(UserError, match=f"{name} is a Git LFS pointer"):
        read(tmp_path / name)


@pytest.mark.parametrize("suffix", ["idx", "bin"])
def test_binarised_data(tmp_path, suffix):
    write_databin(tmp_path / "train", [np.array([4, 2])], 8)
    (tmp_path / f"train.{suffix}").write_text(POINTER)
    with pytest.raises(UserError, match=rf"train\.{suffix} is a Git LFS pointer"):
        Databin.open(tmp_path / "train")


def test_a_shard_of_a_store(tmp_path):
    store = write_store(tmp_path / "store")
    shard = sorted(store.glob("*.arrow"))[-1]
    shard.write_text(POINTER)
    with pytest.raises(UserError, match=f"{shard.name} is a Git LFS pointer"):
        SoftTargetStore.open(store)


def test_a_pointer_where_a_manifest_knows_more(tmp_path):
    """Such as in a clone of what 'cmlm-kd export' wrote, where it would be taken for damage."""
    (tmp_path / "model.safetensors").write_text(POINTER)
    with pytest.raises(UserError, match=r"model\.safetensors is a Git LFS pointer"):
        check_files(tmp_path, {"model.safetensors": FileRecord(438235074, "0" * 64)}, "export again")


def test_what_is_no_pointer(bert, tmp_path):
    assert pointer_in(bert) is None and pointer_in(tmp_path / "nothing") is None
    (tmp_path / "text").write_text("version https://git-lfs is a text\n")
    assert pointer_in(Path(tmp_path / "text")) is None
