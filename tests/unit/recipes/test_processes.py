"""What an interruption, a kill or a failing step leaves goes on, and no command outlives its run."""

import os
import signal
import subprocess
import sys
import time

import pytest
from documentation import REPOSITORY
from tiny_recipes import HEAD, TinyRecipe

# The second step counts to 3, one number a turn; it waits where a file called wait is there.
COUNTING = (
    HEAD
    + """
steps:
  first:
    title: Make a
    run: echo first >> {{ run }}/calls; touch {{ run }}/a
    outputs: [a]
  counted:
    title: Count
    inputs: [a]
    run: |-
      echo counted >> {{ run }}/calls
      mkdir -p {{ run }}/count
      for n in 1 2 3; do
          [ -e {{ run }}/count/$n ] && continue
          touch {{ run }}/count/$n
          [ ! -e {{ run }}/wait ] || { sleep 60 & echo $! > {{ run }}/pid; wait; }
      done
    outputs: [count]
    resumes: RESUMES
  last:
    title: Look
    inputs: [count]
    run: ls {{ run }}/count > {{ run }}/last
    outputs: [last]
"""
)


def start(recipe):
    """Run it in a process of its own until the second step waits; returns the process."""
    recipe.run_folder.mkdir()
    (recipe.run_folder / "wait").touch()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "cmlm_kd", "run", recipe.file, "--output", recipe.run_folder),
            *("--set", f"given={recipe.given}"),
        ],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 30
    while not (recipe.run_folder / "pid").exists() or not recipe.read("pid").strip():
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.02)
    return process


def is_alive(pid):
    try:
        return open(f"/proc/{pid}/stat").read().split()[2] != "Z"
    except FileNotFoundError:
        return False


def ends(pid, seconds=5):
    until = time.monotonic() + seconds
    while is_alive(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not is_alive(pid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("resumes", ["unfinished", "no"])
def test_an_ended_run_goes_on(tmp_path, capsys, number, resumes):
    recipe = TinyRecipe(tmp_path, COUNTING.replace("RESUMES", f'"{resumes}"'))
    process = start(recipe)
    process.send_signal(number)
    _, error = process.communicate(timeout=30)
    if number == signal.SIGKILL:
        assert process.returncode == -number
    else:
        assert process.returncode == 130 and "interrupted; the same command goes on from there" in error
    assert ends(recipe.read("pid").strip()), "a command of the run that was ended still runs"
    (recipe.run_folder / "wait").unlink()
    assert recipe.calls() == ["counted", "first"]
    os.utime(recipe.run_folder / "count" / "1", ns=(5, 5))
    assert recipe.run() == 0 and recipe.calls() == ["counted"]
    assert recipe.read("last") == "1\n2\n3\n"
    goes_on = (recipe.run_folder / "count" / "1").stat().st_mtime_ns == 5
    assert goes_on == (resumes == "unfinished")
    assert ("Count: goes on in what is there" in capsys.readouterr().out) == goes_on


def test_nothing_goes_on_in_what_was_begun_differently(tmp_path, capsys):
    text = COUNTING.replace("RESUMES", "unfinished")
    recipe = TinyRecipe(tmp_path, text)
    process = start(recipe)
    process.kill()
    process.communicate()
    assert ends(recipe.read("pid").strip())  # until then its command holds the folder
    (recipe.run_folder / "wait").unlink()
    (recipe.run_folder / "count" / "of-the-former").touch()
    recipe.write(text.replace("for n in 1 2 3", "for n in 1 2 3 4"))
    assert recipe.run() == 0 and recipe.read("last") == "1\n2\n3\n4\n"
    assert "goes on" not in capsys.readouterr().out


@pytest.mark.parametrize("word", ["one", "two"])
def test_what_a_command_keeps_beside_its_output_goes_when_something_has_changed(tmp_path, word):
    text = (
        HEAD
        + """
steps:
  translated:
    title: Translate
    run:
      - echo {{ word }} >> {{ run }}/translated.parts
      - '[ $(wc -l < {{ run }}/translated.parts) = 2 ] || [ {{ word }} = two ]'
      - mv {{ run }}/translated.parts {{ run }}/translated
    outputs: [translated]
    resumes: unfinished
"""
    )
    recipe = TinyRecipe(tmp_path, text)
    assert recipe.run(word="one") == 2 and recipe.read("translated.parts") == "one\n"
    assert recipe.run(word=word) == 0
    assert recipe.read("translated") == {"one": "one\none\n", "two": "two\n"}[word]


def test_two_runs_do_not_share_a_folder(tmp_path, capsys):
    recipe = TinyRecipe(tmp_path, COUNTING.replace("RESUMES", "unfinished"))
    process = start(recipe)
    assert recipe.run() == 2
    assert f"another 'cmlm-kd run' (process {process.pid}) works there" in capsys.readouterr().err
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)


FAILING = (
    HEAD
    + """
steps:
  bad:
    title: Fail
    run: |-
      for n in 1 2 3 4 5 6 7 8 9 10 11 12; do echo line $n; done
      (exit 7)
      echo not reached
    outputs: [bad]
  beside:
    title: Take long
    run: sleep 60; touch {{ run }}/beside
    outputs: [beside]
  after:
    title: Come after
    inputs: [bad]
    run: touch {{ run }}/after
    outputs: [after]
"""
)


def test_a_failing_step_shows_the_end_of_its_log_and_ends_the_others(tmp_path, capsys):
    recipe = TinyRecipe(tmp_path, FAILING)
    begun = time.monotonic()
    assert recipe.run("--lanes", 2) == 2
    assert time.monotonic() - begun < 30
    error = capsys.readouterr().err
    assert [line.strip() for line in error.splitlines()[:-1]] == [f"line {n}" for n in range(3, 13)]
    assert "step bad failed with status 7; all that it said is in" in error
    assert "logs/bad.log; when the cause is mended, the same command goes on from there" in error
    assert "not reached" not in recipe.read("logs/bad.log") and not (recipe.run_folder / "after").exists()


def test_a_step_must_make_its_outputs(tmp_path, capsys):
    recipe = TinyRecipe(tmp_path, HEAD + "\nsteps: {made: {title: Make, run: 'true', outputs: [x, y]}}\n")
    assert recipe.run() == 2
    error = capsys.readouterr().err
    assert f"step made did not make {recipe.run_folder}/x, {recipe.run_folder}/y" in error
