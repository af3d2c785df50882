"""Each check of ``cmlm-kd doctor``: when it is content, when not, and the remedy that it names."""

from importlib.metadata import PackageNotFoundError

import pytest

from cmlm_kd.cli import main
from cmlm_kd.system import doctor
from cmlm_kd.system.doctor import Finding, Probe


@pytest.fixture
def probes(monkeypatch):
    """Answer every probe from a list, first come first served; each answer is (succeeded, last line)."""

    def answer_with(*answers):
        queue = [Probe(*answer) for answer in answers]
        monkeypatch.setattr(doctor, "run_probe", lambda code, *arguments: queue.pop(0))

    return answer_with


def test_probe_reports_the_last_line_of_output_or_error():
    assert doctor.run_probe("print('first'); print('last')") == Probe(True, "last")
    failed = doctor.run_probe("raise OSError('libcudart.so is missing')")
    assert failed == Probe(False, "OSError: libcudart.so is missing")
    assert doctor.run_probe("import os; os._exit(3)") == Probe(False, "exit status 3")


@pytest.mark.parametrize(
    ("version", "status"),
    [((3, 10, 1), "broken"), ((3, 11, 7), "ok"), ((3, 12, 0), "ok"), ((3, 13, 1), "broken")],
)
def test_python_version(monkeypatch, version, status):
    monkeypatch.setattr(doctor.sys, "version_info", version)
    finding = doctor.check_python()
    assert finding.status == status
    assert ".".join(map(str, version)) in finding.detail


def test_requirements_name_what_is_missing_or_out_of_range(monkeypatch):
    lines = ["torch>=2.6,<2.14", "babel==2.18.0", "pytest>=8; extra == 'dev'"]
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda name: lines)
    versions = {"torch": "2.5.1", "babel": None}
    monkeypatch.setattr(doctor, "installed_version", versions.get)
    finding = doctor.check_requirements()
    assert finding.status == "broken"
    assert finding.detail == "torch 2.5.1, babel missing"
    assert finding.remedy == "pip install 'torch<2.14,>=2.6' 'babel==2.18.0'"

    versions.update(torch="2.13.0+cpu", babel="2.18.0")
    assert doctor.check_requirements().status == "ok"


def test_requirements_of_an_uninstalled_checkout_are_unknown(monkeypatch):
    def unknown(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(doctor.importlib.metadata, "requires", unknown)
    assert doctor.check_requirements().status == "info"


def test_broken_torch(probes):
    probes((False, "OSError: libtorch.so"))
    finding = doctor.check_torch()
    assert (finding.status, finding.remedy) == ("broken", "pip install torch==2.13.0")
    assert "libtorch.so" in finding.detail


def test_torchaudio_that_does_not_import(tmp_path, monkeypatch):
    package = tmp_path / "torchaudio"
    package.mkdir()
    (package / "__init__.py").write_text("raise OSError('libcudart.so.13: cannot open shared object file')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    finding = doctor.check_torchaudio()
    assert (finding.status, finding.remedy) == ("broken", "pip uninstall torchaudio")
    assert "libcudart.so.13" in finding.detail


def test_torchaudio_absent_or_healthy(probes):
    probes((True, "False"), (True, "True"), (True, "2.13.0"))
    assert doctor.check_torchaudio().status == "ok"
    assert "2.13.0" in doctor.check_torchaudio().detail


def test_missing_fairseq_names_the_one_line(monkeypatch):
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    finding = doctor.check_fairseq()
    assert (finding.status, finding.remedy) == ("broken", "pip install --no-deps ve-fairseq==0.12.3")


def test_fairseq_that_does_not_import_and_two_builds(monkeypatch, probes):
    probes((False, "ValueError: mutable default"), (True, "0.12.2"))
    versions = {"fairseq": "0.12.2"}
    monkeypatch.setattr(doctor, "installed_version", versions.get)
    finding = doctor.check_fairseq()
    assert finding.status == "broken"
    assert "fairseq 0.12.2 does not import: ValueError: mutable default" in finding.detail

    versions["ve-fairseq"] = "0.12.3"
    finding = doctor.check_fairseq()
    assert finding.status == "broken"
    assert "ve-fairseq 0.12.3, fairseq 0.12.2" in finding.detail


@pytest.mark.parametrize(
    ("hydra", "omegaconf", "status"),
    [("1.3.8", "2.3.1", "ok"), ("1.0.7", "2.0.6", "broken"), ("1.3.8", None, "broken")],
)
def test_configuration_libraries(monkeypatch, hydra, omegaconf, status):
    monkeypatch.setattr(doctor, "installed_version", {"hydra-core": hydra, "omegaconf": omegaconf}.get)
    assert doctor.check_configuration_libraries().status == status


@pytest.mark.parametrize(
    ("value", "status"), [(None, "ok"), ("0", "ok"), ("1", "broken"), ("true", "broken")]
)
def test_safe_loading_must_stay_on(monkeypatch, value, status):
    monkeypatch.delenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", raising=False)
    if value is not None:
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", value)
    finding = doctor.check_safe_loading()
    assert finding.status == status
    assert (status == "ok") or "unset TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD" in finding.remedy


def test_user_dir_found_lost_or_ambiguous(probes, tmp_path):
    own = str(doctor.plugin_directory())
    good = f'{{"path": "{own}", "safe": true}}'
    probes((True, good), (True, good))
    assert doctor.check_user_dir() == Finding("user-dir", "ok", own)

    probes((True, good), (False, "FileNotFoundError"))
    finding = doctor.check_user_dir()
    assert (finding.status, finding.remedy) == ("info", "cmlm-kd user-dir --link")

    probes((True, good), (True, f'{{"path": "{tmp_path}", "safe": true}}'))
    finding = doctor.check_user_dir()
    assert finding.status == "broken"
    assert f"not unique: the name leads to {tmp_path}" in finding.detail

    probes(
        (False, "ImportError: no module named x"),
    )
    finding = doctor.check_user_dir()
    assert "ImportError: no module named x" in finding.detail
    assert finding.remedy == "pip install ."

    probes(
        (True, f'{{"path": "{own}", "safe": false}}'),
    )
    assert doctor.check_user_dir().status == "broken"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("sse4 avx512_bf16 amx_bf16", "native"),
        ("sse4 avx2", "not native"),
        ("fp asimd bf16", "native"),
        (None, "unknown"),
    ],
)
def test_bfloat16_of_the_cpu(tmp_path, flags, words):
    cpu_info = tmp_path / "cpuinfo"
    if flags is not None:
        cpu_info.write_text(f"processor : 0\nflags\t\t: {flags}\n")
    finding = doctor.check_bfloat16(cpu_info)
    assert finding.status == "info"
    assert finding.detail.startswith(words)


def test_torchrun_on_cpus_is_refused_with_the_command_that_works(monkeypatch, probes):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    probes((True, "False"), (True, "True"))
    finding = doctor.check_processes()
    assert finding.status == "broken"
    assert "--distributed-backend gloo" in finding.remedy
    assert doctor.check_processes().status == "info"  # the second probe has a GPU


def test_command_prints_every_line_and_fails_when_one_is_broken(monkeypatch, capsys):
    good = Finding("python", "ok", "3.12.1")
    bad = Finding("torchaudio", "broken", "does not import", "pip uninstall torchaudio")
    monkeypatch.setattr(doctor, "CHECKS", (lambda: good, lambda: bad))
    with pytest.raises(SystemExit) as exit_:
        main(["doctor"])
    assert exit_.value.code == 1
    assert capsys.readouterr().out.splitlines() == [
        "ok      python: 3.12.1",
        "broken  torchaudio: does not import; remedy: pip uninstall torchaudio",
    ]
    with pytest.raises(SystemExit):
        main(["doctor", "--quiet"])
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "broken  torchaudio: does not import; remedy: pip uninstall torchaudio\n"

    monkeypatch.setattr(doctor, "CHECKS", (lambda: good,))
    assert main(["doctor"]) == 0
