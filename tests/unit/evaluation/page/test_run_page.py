"""What the page of a run says, and that names and texts stay text."""

import pytest
from report_pages import (
    HOSTILE,
    REFERENCE,
    Elements,
    beliefs_of,
    data_of,
    runs_report,
    single_report,
    write_run_page,
)

from cmlm_kd.evaluation.page.run_page import NO_BELIEFS, asked_students, run_page
from cmlm_kd.evaluation.report import Student
from cmlm_kd.evaluation.training_log import ValidationPoint


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    path = write_run_page(tmp_path_factory.mktemp("page"), notes=[f"{HOSTILE} is not shown: no dictionary."])
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html):
    return Elements(html)


def test_names_and_texts_stay_text(page, html):
    assert len(page.all("script")) == 3  # the page's own, and two of data
    assert not page.all("img") and not [own for _, own in page.tags if "onerror" in own]
    assert page.words.count(HOSTILE) > 20  # in the table, the legends, translations, a note
    assert data_of(html)["sentences"][0]["source"].endswith(HOSTILE)
    assert "<script>window" not in html


def test_the_table_has_scores_differences_and_their_test(page):
    report = runs_report()
    assert "30.00 ± 0.71" in page.words and "40.00 ± 0.71" in page.words
    low, high = report.rows[1].bleu.difference.interval
    assert (
        f"+10.00 ({low:+.2f} to {high:+.2f}), p = {report.rows[1].bleu.p_value:.4f} significant" in page.words
    )
    assert all(verdict in page.words for verdict in report.verdicts())
    assert all(" ".join(line.split()) in page.words for line in report.signature_lines())
    for run in ("alone@1", "taught@2"):
        assert f"{run} {report.rows[run[0] == 't'].bleu.runs[run]:.2f}" in page.words


def test_every_run_has_a_curve_whose_best_point_stands_out(page):
    circles = [own for own in page.all("circle") if own.get("data-text")]
    assert len(circles) == 6 * 3 * 2  # runs, validations, measures
    best = [own["data-text"] for own in circles if own["class"] == "dot best"]
    assert "alone@1: 30 after 300 updates, its best" in best and len(best) == 12
    assert all(0 <= float(own[axis].removesuffix("%")) <= 100 for own in circles for axis in ("cx", "cy"))


def test_translations_say_what_differs(page):
    assert len(page.all("article")) == 20
    assert "source ein Hund 0 reference a dog number 0" in page.words
    assert "a dog cat of taught number 0 runs" in page.words  # what is missing, and what stands there
    rows = page.all("div", **{"class": "translation", "data-run": "1"})
    assert len(rows) == 60 and all("hidden" in own for own in rows)


def test_gains_are_means_over_runs(page):
    first = page.all("article")[0]["data-scores"]
    assert first.count(",") == 2 and first.startswith("[") and float(first[1:].split(",")[0]) < 100


def test_soft_targets_are_data_with_the_colours_of_the_students(page, html):
    speakers = data_of(html, "speaker-data")
    assert [each["name"] for each in speakers] == ["teacher", "alone@1", "taught@1", f"{HOSTILE}@1"]
    assert [each["colour"] for each in speakers] == [None, 0, 1, 2]
    token = data_of(html)["sentences"][0]["tokens"][0]
    assert token["entries"][0] == {
        "symbol": "▁one",
        "gold": True,
        "beliefs": pytest.approx([0.7, 0.6, 0.5, 0.4]),
    }
    assert token["entries"][1]["beliefs"][0] is None
    assert "the teacher sees what follows as well" in page.words  # a C-MLM does


def simple_page(folder, beliefs, **options):
    students = []
    for name in ("alone", "taught"):
        path = folder / f"{name}.txt"
        path.write_text("".join(f"D-{n}\t-0.1\t{line.upper()}\n" for n, line in enumerate(REFERENCE)))
        students.append(Student(name, folder / "no.pt", path))
    curves = {name: [ValidationPoint(100, 1, {"nll_loss": 2.0})] for name in ("alone", "taught")}
    return run_page(single_report(), students, curves, [REFERENCE], beliefs, 5, **options)


def test_single_runs_without_a_store_and_without_sources(tmp_path):
    html = simple_page(tmp_path, None)
    page = Elements(html)
    assert NO_BELIEFS in page.words and 'id="data"' not in html
    assert "31.50 +1.50, p = 0.2000 not significant" in page.words
    assert "source" not in page.words and "Every run" not in page.words and not page.all("select", id="run")
    assert "paired bootstrap, level 0.05" in page.words
    assert page.all("line", **{"class": "bar"})  # the bootstrap's interval


def test_case_is_no_difference_where_scores_ignore_it(tmp_path):
    assert len(Elements(simple_page(tmp_path, None)).all("mark")) > 5
    assert (
        len(Elements(simple_page(tmp_path, None, lowercase=True)).all("mark")) == 1
    )  # that of the explanation


def test_a_store_of_which_nothing_can_be_shown_says_so(tmp_path):
    beliefs = beliefs_of(["alone"])
    empty = type(beliefs)("C-MLM", "train", 1.0, ["alone"], [], ["No sentence has soft targets."])
    page = Elements(simple_page(tmp_path, empty))
    assert "No sentence has soft targets." in page.words and not page.all("div", id="browser")


def test_the_first_run_speaks_for_a_student(tmp_path):
    runs = [Student(name, tmp_path / name, tmp_path) for name in ("a@2", "a@1", "b@1")]
    assert asked_students(runs, ["a", "b"]) == {"a@2": tmp_path / "a@2", "b@1": tmp_path / "b@1"}
    assert list(asked_students(runs, ["a@2", "a@1", "b@1"])) == ["a@2", "a@1", "b@1"]
