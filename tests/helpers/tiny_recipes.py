"""Recipes with quick commands for steps, run in the test's own process."""

import os
import subprocess
import sys

from documentation import REPOSITORY

from cmlm_kd.cli import main

HEAD = """
name: tiny
output: unused
settings:
  word: {default: one, varies: true}
  given: {default: null, type: path}
"""

CHAIN = (
    HEAD
    + """
steps:
  first:
    title: Make a
    inputs: ["{{ given }}"]
    run:
      - echo first >> {{ run }}/calls
      - cat {{ given }} > {{ run }}/a
    outputs: [a]
  second:
    title: Make b
    inputs: [a]
    run: |-
      echo second >> {{ run }}/calls
      mkdir -p {{ run }}/b
      cp {{ run }}/a {{ run }}/b/copy
      echo {{ word }} > {{ run }}/b/word
    outputs: [b]
  third:
    title: Make c
    inputs: [b]
    run: echo third >> {{ run }}/calls; cat {{ run }}/b/* > {{ run }}/c
    outputs: [c]
"""
)


class TinyRecipe:
    """A recipe's file and the folder of its runs."""

    def __init__(self, folder, text=CHAIN):
        self.file, self.run_folder, self.given = folder / "tiny.yaml", folder / "run", folder / "given"
        self.given.write_text("text\n")
        self.write(text)

    def write(self, text):
        self.file.write_text(text)

    def run(self, *flags, **settings):
        """Run it; returns the status."""
        given = {"given": self.given, **settings}
        arguments = ["run", str(self.file), "--output", str(self.run_folder), *map(str, flags)]
        return main([*arguments, "--set", *(f"{name}={value}" for name, value in given.items())])

    def calls(self):
        """Return the names of steps that have run since the last call of this, in alphabetical order."""
        file = self.run_folder / "calls"
        found = file.read_text().split() if file.exists() else []
        file.unlink(missing_ok=True)
        return sorted(found)

    def read(self, name):
        return (self.run_folder / name).read_text()


def run_recipe(recipe, output, *settings, flags=()):
    """Run a recipe in a process of its own, two updates a training; returns how it ended."""
    command = [sys.executable, "-m", "cmlm_kd", "run", recipe, "--output", output, *flags]
    return subprocess.run(
        [*map(str, command), "--set", "updates=2", *map(str, settings)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
