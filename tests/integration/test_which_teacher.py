"""docs/which_teacher.md says what the code does: which criterion can hear which teacher."""

import fairseq_cli.train
import pytest
from documentation import REPOSITORY
from fairseq_runs import TINY_STUDENT, exit_of
from tiny_next_tokens import LSTM, train_translator, write_data

from cmlm_kd.api import ModelDescription, NamedTeacher, UserError, kd_criteria, next_token_teachers
from cmlm_kd.api.needs import check_needs
from cmlm_kd.cli import main
from cmlm_kd.criteria import load_criteria
from cmlm_kd.teachers.kinds import load_kinds

PAGE = (REPOSITORY / "docs" / "which_teacher.md").read_text(encoding="utf-8")
ROWS = {
    "store": "a store that `cmlm-kd dump` wrote, of any teacher (`--soft-targets`)",
    "transformer": "a Transformer of fairseq beside the student (`--online-teacher`)",
    "lstm": "an LSTM, a C-MLM or a language model beside the student",
    "several": "several teachers beside the student",
    "text": "text alone",
}


def table():
    """Return row -> criterion -> whether the page says that it can be heard."""
    begin = PAGE.index("| teacher | `soft_target_kd` |")
    heads, _, *lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE[begin : PAGE.index("\n\n", begin)].splitlines()
    ]
    names = [head.strip("`") for head in heads[1:]]
    assert {cell for line in lines for cell in line[1:]} == {"yes", "no"}
    return {line[0]: dict(zip(names, (cell == "yes" for cell in line[1:]), strict=True)) for line in lines}


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    root = tmp_path_factory.mktemp("which")
    data = write_data(root / "data")
    transformer = train_translator(root / "transformer", data)
    lstm = train_translator(root / "lstm", data, model=LSTM)
    assert main(["dump", str(data), "--teacher", str(transformer), "--output", str(root / "store")]) == 0
    given = {
        "store": ("--soft-targets", root / "store"),
        "transformer": ("--online-teacher", transformer),
        "lstm": ("--online-teacher", lstm),
        "several": ("--online-teacher", f"{transformer},{lstm}"),
    }
    return data, given


def test_the_table_has_all_criteria_over_target_tokens():
    load_criteria()
    over_tokens = {name for name in kd_criteria if kd_criteria.get(name).cls.levels == ("tokens",)}
    ours = {name for name in over_tokens if kd_criteria.get(name).cls.__module__.startswith("cmlm_kd.")}
    assert set(table()) == set(ROWS.values())
    assert all(set(row) == ours for row in table().values())


@pytest.mark.parametrize("criterion", ["soft_target_kd", "selective_kd", "tie_kd", "hidden_state_kd"])
@pytest.mark.parametrize("teacher", ["store", "transformer", "lstm", "several"])
def test_a_training_hears_the_teachers_of_the_table(road, tmp_path, teacher, criterion):
    data, given = road
    status, errors = exit_of(
        fairseq_cli.train,
        *(data, "--task", "translation_kd", *given[teacher], "--criterion", criterion, *TINY_STUDENT),
        *("--kd-topk", 3, "--max-tokens", 200, "--max-update", 1, "--no-epoch-checkpoints"),
        *("--disable-validation", "--save-dir", tmp_path),
    )
    heard = (tmp_path / "checkpoint_last.pt").is_file()
    assert heard == (status == 0) == table()[ROWS[teacher]][criterion], errors
    assert heard or f"{criterion}: reads" in errors.splitlines()[-1]


def test_who_gives_text_alone_is_heard_by_none():
    load_criteria()
    student = ModelDescription("the student", vocabulary=9)
    service = ModelDescription("a service", frozenset())
    for criterion, heard in table()[ROWS["text"]].items():
        entry = kd_criteria.get(criterion)
        assert not heard
        with pytest.raises(UserError, match=f"{criterion}: reads .* does not give|{criterion}: reads what"):
            needs = entry.cls(entry.config()).needs(student, service)
            check_needs(criterion, needs, student, service)


def test_no_other_kind_of_teacher_shows_its_inside():
    """Of language models, C-MLMs and all other kinds the table says what it says of an LSTM."""
    load_kinds(with_fairseq=True)
    shown = {
        name
        for name in next_token_teachers
        if next_token_teachers.get(name).cls.inside is not NamedTeacher.inside
    }
    assert shown == {"fairseq"}
