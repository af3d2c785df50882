"""``--engine ray`` on two nodes: the same bytes as one process writes, whatever becomes of a worker."""

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from tiny_corpus import write_split
from tiny_next_tokens import train_translator, write_data
from tiny_translation import pairs, write_student
from toy_translator import write_lines

from cmlm_kd.cli import main
from cmlm_kd.errors import UserError
from cmlm_kd.system import ray_engine
from cmlm_kd.system.ray_engine import RayEngine


@pytest.fixture(scope="module")
def address():
    """Two nodes with room for one worker each; they end with the tests of this file."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray.cluster_utils import Cluster

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    yield cluster.address
    cluster.shutdown()


@dataclass(frozen=True)
class Counting:
    """Work that says who did it; it ends its first process once, and refuses one shard."""

    once: Path
    refused: int = -1

    def start(self):
        def shard(index, payload):
            if index == 2 and not self.once.exists():
                self.once.write_text(str(os.getpid()))
                os.kill(os.getpid(), signal.SIGKILL)
            if index == self.refused:
                raise UserError(f"shard {index} is damaged; write it again")
            return b"%d:%s:%d" % (index, payload, os.getpid())

        return shard


def test_a_worker_that_dies_costs_no_shard(address, tmp_path):
    shards = [(index, b"x" * index) for index in range(8)]
    found = dict(RayEngine(address=address).results(Counting(tmp_path / "killed"), shards))
    assert {index: data.split(b":")[:2] for index, data in found.items()} == {
        index: [b"%d" % index, payload] for index, payload in shards
    }
    dead = (tmp_path / "killed").read_text()
    assert dead and all(not data.endswith(f":{dead}".encode()) for index, data in found.items() if index == 2)


def test_what_a_worker_refuses_is_one_line(address, tmp_path):
    (tmp_path / "killed").touch()
    engine, work = RayEngine(address=address), Counting(tmp_path / "killed", refused=3)
    with pytest.raises(UserError, match=r"^shard 3 is damaged; write it again$"):
        list(engine.results(work, [(index, b"") for index in range(5)]))


def test_workers_that_no_node_has_room_for(address, tmp_path):
    engine = RayEngine(cpus=3, address=address)
    with pytest.raises(
        UserError, match=r"--worker-cpus 3 --worker-gpus 0: there are 1 CPUs and 0 GPUs, 1 CPUs"
    ):
        list(engine.results(Counting(tmp_path / "x"), [(0, b"")]))


def same_bytes(first, second):
    names = sorted(path.name for path in first.iterdir() if not path.name.startswith("."))
    assert names == sorted(path.name for path in second.iterdir() if not path.name.startswith("."))
    return all((first / name).read_bytes() == (second / name).read_bytes() for name in names)


def test_a_store_has_the_bytes_of_one_process(address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = write_data(tmp_path / "data")
    write_split(data, "train", 40, seed=3, max_length=5)
    teacher = train_translator(tmp_path / "teacher", data)
    words = ["dump", "data", "--teacher", os.path.relpath(teacher), "--shard-rows", "7"]
    assert main([*words, "--device", "cpu", "--output", "alone"]) == 0
    cluster = ["--engine", "ray", "--ray-address", address, "--workers", "2"]
    assert main([*words, "--output", "together", *cluster]) == 0
    assert same_bytes(tmp_path / "alone", tmp_path / "together")
    for path in (tmp_path / "together").glob("shard-0000[14]*"):
        path.unlink()
    assert main([*words, "--output", "together", *cluster]) == 0
    assert same_bytes(tmp_path / "alone", tmp_path / "together")


@pytest.mark.long
def test_a_translation_has_the_bytes_of_one_process(address, tmp_path):
    (tmp_path / "student").mkdir()
    student = write_student(tmp_path / "student")
    source = write_lines(tmp_path / "x.de", [german for german, _ in pairs()])
    words = ["translate", "--model", str(student), "--input", str(source), "--shard-rows", "20", "--sampling"]
    assert main([*words, "--device", "cpu", "--output", str(tmp_path / "alone.en")]) == 0
    cluster = ["--engine", "ray", "--ray-address", address]
    assert main([*words, "--output", str(tmp_path / "together.en"), *cluster]) == 0
    for name in ("{}.en", "{}.en.json"):
        found = [(tmp_path / name.format(way)).read_bytes() for way in ("alone", "together")]
        assert found[0] == found[1] and found[0]


# -- without a cluster -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--workers", "2"], "--workers goes with --engine ray; give both, or neither"),
        (["--worker-gpus", "0"], "--worker-gpus goes with --engine ray"),
        (["--engine", "ray", "--shard", "0/2"], "--shard and --engine ray are both given"),
        (["--engine", "ray", "--device", "cpu"], "--device and --engine ray are both given"),
        (["--engine", "ray", "--workers", "0"], "--workers is 0; it must be at least 1"),
        (["--engine", "ray", "--worker-cpus", "0"], "--worker-cpus is 0.0; it must be above 0"),
        (["--engine", "ray", "--worker-gpus", "-1"], "--worker-gpus is -1.0; it must be 0 or more"),
    ],
)
@pytest.mark.parametrize(
    "words", [["dump", "data", "--teacher", "t.pt"], ["translate", "--model", "t.pt", "--input", "x"]]
)
def test_flags_that_mean_nothing_together(tmp_path, monkeypatch, capsys, words, flags, message):
    monkeypatch.chdir(tmp_path)
    assert main([*words, "--output", "y", *flags]) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "y").exists()


@pytest.mark.parametrize(
    "flags", [("--engine", "ray"), ("--workers", "2"), ("--worker-gpus", "1"), ("--ray-address", "x:1")]
)
def test_standard_input_is_answered_here(capsys, flags):
    assert main(["translate", "--model", "t.pt", "--input", "-", *flags]) == 2
    assert f"{flags[0]} goes with --input FILE, not with -; leave it out" in capsys.readouterr().err


def test_an_address_where_nobody_answers(tmp_path, monkeypatch):
    import ray

    def refuse(address, **_):
        raise ConnectionError("nobody is there")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with pytest.raises(
        UserError, match=r"--ray-address there:1: no Ray cluster answers .nobody is there.; start"
    ):
        list(RayEngine(address="there:1").results(Counting(tmp_path / "x"), [(0, b"")]))


def test_without_ray(monkeypatch):
    monkeypatch.setattr(ray_engine.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="--engine ray needs Ray, which is not installed; pip install"):
        RayEngine()
