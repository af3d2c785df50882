"""What ``--device`` of the commands means, which devices are refused, and outputs that are inputs."""

import argparse

import pytest
import torch

from cmlm_kd.cli import main
from cmlm_kd.cli.arguments import add_device, check_not_read, check_output, chosen_device
from cmlm_kd.errors import UserError
from cmlm_kd.system import devices


def chosen(*words, model=""):
    parser = argparse.ArgumentParser()
    add_device(parser)
    return chosen_device(parser.parse_args(words), model)


def test_a_gpu_is_taken_where_there_is_one():
    assert chosen() == ("cuda" if torch.cuda.is_available() else "cpu")
    assert chosen("--device", "cpu") == "cpu"


def test_onnx_graphs_run_on_the_cpu_where_nobody_asks_for_a_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(devices, "check_device", lambda name: None)
    for name in ("decoder.onnx", "model.onnx", "model.bin"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    assert chosen(model=tmp_path / "decoder.onnx") == chosen(model=tmp_path / "model.onnx") == "cpu"
    assert chosen(model=f"onnx={tmp_path / 'decoder.onnx'}") == chosen(model="onnx=x") == "cpu"
    assert chosen(model=tmp_path / "model.bin") == chosen(model="a/b") == "cuda"
    assert chosen("--device", "cuda", model=tmp_path / "decoder.onnx") == "cuda"


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "cpu:none"])
def test_devices_that_are_not_there(device):
    with pytest.raises(
        UserError, match=f"--device is '{device}', which torch can't use .*; give cpu, or cuda"
    ):
        chosen("--device", device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_no_gpu():
    with pytest.raises(UserError, match="--device is 'cuda', which torch can't use"):
        chosen("--device", "cuda")


@pytest.mark.parametrize("output", ["hypothesis", "reference", "link"])
def test_an_output_that_is_read_is_not_written_over(tmp_path, monkeypatch, capsys, output):
    monkeypatch.chdir(tmp_path)
    for name in ("hypothesis", "reference"):
        (tmp_path / name).write_text("a line\n")
    (tmp_path / "link").symlink_to("hypothesis")
    words = ["score", "--hypothesis", "a=hypothesis", "--reference", "reference", "--output", output]
    assert main(words) == 2
    assert capsys.readouterr().err == (
        f"cmlm-kd score: --output {output} is a file that is read; give another one, or it is lost\n"
    )
    assert (tmp_path / "hypothesis").read_text() == (tmp_path / "reference").read_text() == "a line\n"


def test_other_files_are_written(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).touch()
    check_not_read("--output", tmp_path / "a", ["x=y", f"x={tmp_path / 'b'}", tmp_path / "b", "\0", None, 5])
    check_not_read("--output", tmp_path / "new", [tmp_path / "a"])


def test_two_outputs_have_files_of_their_own(tmp_path):
    written = argparse.Namespace(output=tmp_path / "a", plot=tmp_path / "x" / ".." / "a", html=None)
    with pytest.raises(UserError, match=r"--plot and --output are both .*/a; give each a file of its own"):
        check_output(written)
    check_output(argparse.Namespace(output=tmp_path / "a", plot=tmp_path / "b", html=None))
