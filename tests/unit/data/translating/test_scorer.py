"""A command of the user's scores hypotheses."""

import os
import sys

import pytest

from cmlm_kd.api.translator import Hypothesis
from cmlm_kd.data.translating.pick import Row
from cmlm_kd.data.translating.scorer import scored
from cmlm_kd.errors import UserError

ROWS = [
    Row("a\tb", "r 1", [Hypothesis("x", 0.0), Hypothesis("yy", 0.0)]),
    Row("c", None, []),
    Row("d", None, [Hypothesis("zzz", 0.0)]),
]


def command(tmp_path, program):
    path = tmp_path / "my scorer.py"
    path.write_text(f"import sys\n{program}\n")
    return f"{sys.executable} '{path}'"


def numbers(scorer):
    with scored(scorer, iter(ROWS)) as found:
        return list(found)


def test_each_hypothesis_has_its_number(tmp_path):
    program = (
        "seen = open(sys.argv[0] + '.seen', 'w')\n"
        "for line in sys.stdin:\n"
        "    seen.write(line); print(len(line.split('\\t')[1]) / 2)"
    )
    assert numbers(command(tmp_path, program)) == [[0.5, 1.0], [], [1.5]]
    assert (tmp_path / "my scorer.py.seen").read_text() == "a b\tx\tr 1\na b\tyy\tr 1\nd\tzzz\t\n"


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("sys.exit(3)", "failed with exit status 3; its own message is above"),
        ("print(1)", r"printed 1 lines for 3 hypotheses; it must print one number for each line"),
        ("print('1\\n2\\n3\\n4')", "printed 4 lines for 3 hypotheses"),
        ("print('1\\nscore: 2\\n3')", r"printed 'score: 2' in line 2; it must print one number a line"),
        ("print('1\\nnan\\n3')", "printed 'nan' in line 2"),
        ("print('1\\n\\n3')", "printed '' in line 2"),
    ],
)
def test_a_scorer_that_fails(tmp_path, program, message):
    with pytest.raises(UserError, match=message):
        numbers(command(tmp_path, program))


@pytest.mark.parametrize("said", ["1", "fine", "7" * 70_000])
def test_a_scorer_that_goes_on_for_ever_is_ended(tmp_path, said):
    """Such as one that takes the empty lines behind the end of its input for lines."""
    scorer = command(
        tmp_path,
        "import os; open(sys.argv[0] + '.pid', 'w').write(str(os.getpid()))\n"
        f"while True: sys.stdin.readline(); print({said!r})",
    )
    message = "went on printing behind the 3 numbers" if said == "1" else f"printed '{said[:40]}' in line 1"
    with pytest.raises(UserError, match=message):
        numbers(scorer)
    process = int((tmp_path / "my scorer.py.pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


@pytest.mark.parametrize("scorer", ["/nowhere/scorer", "", "an 'open quote"])
def test_a_command_that_cannot_be_started(scorer):
    with pytest.raises(UserError, match=r"--scorer .* cannot be started"):
        numbers(scorer)
