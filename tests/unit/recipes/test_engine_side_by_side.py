"""Independent steps run at the same time, with the threads shared out, and tell which says what."""

import pytest
from tiny_recipes import HEAD, TinyRecipe

from cmlm_kd.recipes import machine

# Each of two steps waits until the other has begun.
MEETING = (
    HEAD
    + """
steps:
  met:
    for: {who: [a, b]}
    title: Wait for the other, {{ who }}
    values: {other: "{{ 'b' if who == 'a' else 'a' }}"}
    run: |-
      touch {{ run }}/{{ who }}-is-here
      for _ in $(seq 100); do [ -e {{ run }}/{{ other }}-is-here ] && break; sleep 0.1; done
      [ -e {{ run }}/{{ other }}-is-here ]
      echo threads $OMP_NUM_THREADS
      touch {{ run }}/{{ who }}
    outputs: ["{{ who }}"]
  last:
    title: Come last
    inputs: [a, b]
    run: echo threads $OMP_NUM_THREADS; touch {{ run }}/last
    outputs: [last]
"""
)


@pytest.fixture
def four_threads(monkeypatch):
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: range(4))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def test_two_steps_meet(tmp_path, capsys, four_threads):
    recipe = TinyRecipe(tmp_path, MEETING)
    assert recipe.run() == 0
    printed = capsys.readouterr().out
    assert "met@a: threads 2\n" in printed and "met@b: threads 2\n" in printed
    assert "last: threads 4\n" in printed  # nothing else can run
    assert "threads 2" in recipe.read("logs/a.log")


def test_of_progress_bars_the_state_is_shown_now_and_then(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("cmlm_kd.recipes.processes._BAR_SECONDS", 0.3)
    bar = "for n in 1 2 3 4 5; do printf '\\\\rat %s' $n; sleep 0.2; done; printf '\\\\nend'"
    run = f"{bar}; touch {{{{ run }}}}/x"
    recipe = TinyRecipe(tmp_path, f'{HEAD}\nsteps: {{x: {{title: X, run: "{run}", outputs: [x]}}}}\n')
    assert recipe.run() == 0
    shown = [line for line in capsys.readouterr().out.splitlines() if line.startswith("x: ")]
    assert shown[-2:] == ["x: at 5", "x: end"] and 3 <= len(shown) <= 6
    assert (recipe.run_folder / "logs" / "x.log").read_bytes().startswith(b"\rat 1\rat 2\r")


def test_one_lane(tmp_path, capsys, four_threads):
    recipe = TinyRecipe(tmp_path, MEETING.replace("seq 100", "seq 1"))
    assert recipe.run("--lanes", 1) == 2  # the first waits in vain
    assert recipe.run("--lanes", 0) == 2
    assert "--lanes is 0; it must be at least 1" in capsys.readouterr().err


def test_more_lanes_than_steps_start_no_threads_for_nothing(tmp_path):
    assert TinyRecipe(tmp_path).run("--lanes", 10**20) == 0


def test_variables_of_the_user_are_kept(tmp_path, capsys, four_threads, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("GLIBC_TUNABLES", "mine")
    text = MEETING.replace("echo threads $OMP", "echo $GLIBC_TUNABLES $TOKENIZERS_PARALLELISM $OMP")
    assert TinyRecipe(tmp_path, text).run() == 0
    assert "last: mine false 1\n" in capsys.readouterr().out


ALONE = (
    HEAD
    + """
steps:
  measured:
    for: {who: [a, b, c, d]}
    title: Measure {{ who }}
    exclusive: true
    run: |-
      mkdir {{ run }}/busy
      sleep 0.1
      rmdir {{ run }}/busy
      touch {{ run }}/{{ who }}
    outputs: ["{{ who }}"]
"""
)


@pytest.mark.parametrize("alone", ["exclusive: true", "lane: measuring"])
def test_what_measures_speed_runs_alone(tmp_path, four_threads, alone):
    """So do those of one lane, one after the other."""
    assert TinyRecipe(tmp_path, ALONE.replace("exclusive: true", alone)).run("--lanes", 4) == 0


@pytest.mark.parametrize(("gpu", "bfloat16"), [(False, True), (False, False), (True, True)])
def test_flags_that_the_machine_decides(tmp_path, monkeypatch, capsys, gpu, bfloat16):
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
    monkeypatch.setattr("cmlm_kd.system.devices.autocast_pays", lambda _: bfloat16)
    run = "echo [ {{ cpu }} ] [ {{ autocast }} ] > {{ run }}/x"
    recipe = TinyRecipe(tmp_path, f"{HEAD}\nsteps: {{x: {{title: X, run: '{run}', outputs: [x]}}}}\n")
    assert recipe.run() == 0
    assert recipe.read("x") == (f"[{'' if gpu else ' --cpu'} ] [{' --bf16-autocast' if bfloat16 else ''} ]\n")
