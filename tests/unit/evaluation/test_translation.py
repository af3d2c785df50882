"""Scores agree with sacreBLEU and rouge-score themselves; misuse is refused by name."""

import json
import os

import pytest
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer

from cmlm_kd.cli import main
from cmlm_kd.errors import UserError
from cmlm_kd.evaluation.scores import Score
from cmlm_kd.evaluation.translation import ScoreSettings, evaluate
from cmlm_kd.system.text import table

REFERENCE = [f"The train number {n} leaves at {n % 12} o'clock on Monday, March {n}." for n in range(1, 41)]
GOOD = [line.replace("leaves", "departs") if n % 4 == 0 else line for n, line in enumerate(REFERENCE)]
POOR = [line.replace("o'clock on", "hours at") if n % 2 == 0 else line for n, line in enumerate(REFERENCE)]
SHOUTED = [line.upper() for line in REFERENCE]


@pytest.fixture
def files(tmp_path):
    """Write named lists of lines as text files."""

    def write(**texts):
        paths = []
        for name, lines in texts.items():
            path = tmp_path / f"{name}.txt"
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            paths.append(str(path))
        return paths if len(paths) > 1 else paths[0]

    return write


def test_scores_are_those_of_sacrebleu():
    result = evaluate({"good": GOOD}, [REFERENCE], ScoreSettings())
    scores = {metric: score.value for metric, score in result.systems["good"].items()}
    assert scores == {
        "BLEU": sacrebleu.corpus_bleu(GOOD, [REFERENCE]).score,
        "chrF2": sacrebleu.corpus_chrf(GOOD, [REFERENCE]).score,
        "TER": sacrebleu.corpus_ter(GOOD, [REFERENCE]).score,
    }
    assert (
        result.signatures["BLEU"]
        == f"nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:{sacrebleu.__version__}"
    )
    assert result.baseline is None


def test_options_reach_the_metrics_and_the_signatures():
    settings = ScoreSettings(lowercase=True, tokenize="char", chrf_word_order=2)
    result = evaluate({"shouted": SHOUTED}, [REFERENCE], settings)
    assert [score.value for score in result.systems["shouted"].values()] == pytest.approx([100.0, 100.0, 0.0])
    assert "case:lc|eff:no|tok:char" in result.signatures["BLEU"]
    assert "nw:2" in result.signatures["chrF2++"]
    assert "case:lc" in result.signatures["TER"]
    assert evaluate({"shouted": SHOUTED}, [REFERENCE], ScoreSettings()).systems["shouted"]["BLEU"].value < 50


def test_several_references_with_gaps():
    second = ["" if n % 2 else line for n, line in enumerate(GOOD)]
    result = evaluate({"good": GOOD}, [REFERENCE, second], ScoreSettings(metrics=("bleu",)))
    expected = sacrebleu.corpus_bleu(GOOD, [REFERENCE, [line or None for line in second]]).score
    assert result.systems["good"]["BLEU"].value == expected
    assert (
        result.systems["good"]["BLEU"].value
        > evaluate({"good": GOOD}, [REFERENCE], ScoreSettings()).systems["good"]["BLEU"].value
    )
    assert "nrefs:var" in result.signatures["BLEU"]


def test_rouge_is_that_of_rouge_score():
    result = evaluate({"poor": POOR}, [REFERENCE, GOOD], ScoreSettings(metrics=("rouge",)))
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    best = [scorer.score_multi(list(refs), line) for *refs, line in zip(REFERENCE, GOOD, POOR, strict=True)]
    for label, name in (("ROUGE-1", "rouge1"), ("ROUGE-2", "rouge2"), ("ROUGE-L", "rougeL")):
        mean = 100 * sum(scores[name].fmeasure for scores in best) / len(best)
        assert result.systems["poor"][label].value == pytest.approx(mean)
    assert result.signatures["ROUGE-1"] == "nrefs:2|stem:porter|tok:a-z0-9|agg:mean-f1|version:0.1.2"


def test_paired_bootstrap_is_sacrebleus_and_seeded(monkeypatch):
    monkeypatch.setenv("SACREBLEU_SEED", "99")
    settings = ScoreSettings(metrics=("bleu", "rouge"), bootstrap_samples=200, seed=7)
    systems = {"good": GOOD, "poor": POOR, "copy": list(POOR)}
    first = evaluate(systems, [REFERENCE], settings, "poor")
    assert list(first.systems) == ["poor", "good", "copy"], "the baseline comes first"
    assert first.systems["poor"]["BLEU"].p_value is None
    assert first.systems["good"]["BLEU"].is_significant
    assert first.systems["good"]["ROUGE-2"].is_significant
    assert "bs:200|seed:7|" in first.signatures["BLEU"]
    assert evaluate(systems, [REFERENCE], settings, "poor") == first
    assert os.environ["SACREBLEU_SEED"] == "99", "the environment is left as it was"

    monkeypatch.setenv("SACREBLEU_SEED", "7")
    metrics = {"BLEU": sacrebleu.BLEU(force=True)}
    from sacrebleu.significance import PairedTest

    _, theirs = PairedTest([("poor", POOR), ("good", GOOD)], metrics, [REFERENCE], "bs", n_samples=200)()
    assert first.systems["good"]["BLEU"].p_value == theirs["BLEU"][1].p_value
    assert first.systems["good"]["BLEU"].confidence == theirs["BLEU"][1].ci


def test_a_copy_of_the_baseline_is_not_significantly_different():
    settings = ScoreSettings(metrics=("bleu",), bootstrap_samples=50)
    copy = evaluate({"a": GOOD, "b": list(GOOD)}, [REFERENCE], settings, "a").systems["b"]["BLEU"]
    assert copy.p_value == 1.0
    assert not copy.is_significant


@pytest.mark.parametrize(
    ("lowercase", "metric", "change"),
    [
        (False, "BLEU", lambda line: line.replace(" ", "  ", 1)),
        (False, "chrF2", lambda line: line.replace(" ", "  ", 1)),
        (False, "TER", lambda line: f" {line}"),
        (True, "BLEU", str.upper),
        (True, "TER", str.upper),
        (False, "ROUGE-L", lambda line: line.replace(".", " !")),
    ],
)
def test_what_a_metric_does_not_see_is_not_significant(lowercase, metric, change):
    settings = ScoreSettings(("bleu", "chrf", "ter", "rouge"), lowercase=lowercase, bootstrap_samples=50)
    changed = [change(line) for line in POOR]
    assert changed != POOR
    scores = evaluate({"a": POOR, "b": changed}, [REFERENCE], settings, "a").systems
    assert scores["b"][metric].value == pytest.approx(scores["a"][metric].value, rel=1e-12)
    assert scores["b"][metric].p_value == 1.0


def test_a_single_line_is_not_tested():
    """Every resample is that line, so that any difference would be found in all of them."""
    result = evaluate({"a": GOOD[3:4], "b": POOR[1:2]}, [REFERENCE[3:4]], ScoreSettings(), baseline="a")
    assert not any(score.is_significant for scores in result.systems.values() for score in scores.values())
    assert result.notes == ("not tested against 'a': a single line says nothing of others",)


@pytest.mark.parametrize("copies", [2, 30])
def test_resamples_that_are_all_alike_are_not_tested(copies):
    """Such as of a line that is repeated: any difference would be found in all of them."""
    settings = ScoreSettings(("bleu", "chrf", "ter", "rouge"), bootstrap_samples=50)
    systems = {"a": GOOD[3:4] * copies, "b": POOR[1:2] * copies, "copy": GOOD[3:4] * copies}
    result = evaluate(systems, [REFERENCE[3:4] * copies], settings, "a")
    for score in result.systems["b"].values():
        assert (score.p_value, score.confidence) == (None, None) and not score.is_significant
    assert all(score.p_value == 1.0 for score in result.systems["copy"].values())
    assert len(result.notes) == 1
    assert result.notes[0].startswith("'b' is not tested against 'a' in BLEU, chrF2, TER, ROUGE-1, ROUGE-2")


def test_equal_differences_of_unequal_lines_are_not_tested():
    """ROUGE is a mean over lines: where each line loses as much, so does each resample."""
    references = [
        f"{' '.join(words)} end" for words in (["alpha", "beta"], ["gamma", "delta"], ["eps", "zeta"])
    ]
    systems = {"a": references, "b": [line.replace("end", "other") for line in references]}
    result = evaluate(systems, [references], ScoreSettings(("rouge", "chrf"), bootstrap_samples=50), "a")
    assert result.systems["b"]["ROUGE-1"].p_value is None
    assert result.systems["b"]["chrF2"].p_value is not None
    assert "in ROUGE-1, ROUGE-2, ROUGE-L: all resamples" in result.notes[0]


@pytest.mark.parametrize(("p_value", "significant"), [(None, False), (0.05, False), (0.049, True)])
def test_significance_level(p_value, significant):
    assert Score(1.0, p_value).is_significant is significant


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"metrics": ()}, "allowed are bleu, chrf, ter, rouge"),
        ({"metrics": ("comet",)}, "comet"),
        ({"tokenize": "moses"}, "'moses': allowed are"),
        ({"chrf_word_order": -1}, "-1: allowed"),
        ({"bootstrap_samples": 0}, "0 bootstrap samples"),
        ({"seed": 0}, "seed 0"),
    ],
)
def test_settings_out_of_range(settings, words):
    with pytest.raises(UserError, match=words):
        ScoreSettings(**settings)


@pytest.mark.parametrize(
    ("systems", "references", "baseline", "words"),
    [
        ({}, [REFERENCE], None, "at least one system"),
        ({"a": GOOD}, [], None, "one reference"),
        ({"a": []}, [[]], None, "reference 1 is empty"),
        ({"a": GOOD[:-1]}, [REFERENCE], None, "system 'a' has 39 lines, reference 1 has 40"),
        ({"a": GOOD}, [REFERENCE, REFERENCE[1:]], None, "reference 2 has 39 lines, reference 1 has 40"),
        ({"a": ["x", "y"]}, [["x", " "]], None, "line 2 is empty in every reference"),
        ({"a": GOOD}, [REFERENCE], "b", "baseline 'b' is not among the systems: 'a'"),
    ],
)
def test_misfits_are_named(systems, references, baseline, words):
    with pytest.raises(UserError, match=words):
        evaluate(systems, references, ScoreSettings(), baseline)


def test_empty_hypotheses_are_scored():
    lines = ["", *REFERENCE[1:]]
    value = evaluate({"a": lines}, [REFERENCE], ScoreSettings(metrics=("bleu",))).systems["a"]["BLEU"].value
    assert 90 < value < 100


def test_table_is_aligned_markdown():
    assert table([["system", "BLEU"], ["a", "9.00"], ["longer", "10.00"]]).splitlines() == [
        "| system |  BLEU |",
        "|--------|------:|",
        "| a      |  9.00 |",
        "| longer | 10.00 |",
    ]


def test_command_prints_text_and_writes_json(files, tmp_path, capsys):
    good, poor, reference = files(good=GOOD, poor=POOR, reference=REFERENCE)
    options = ["--reference", reference, "--baseline", "poor", "--paired-bs-n", "100", "--metrics", "bleu"]
    assert main(["score", "--hypothesis", f"poor={poor}", f"good={good}", *options]) == 0
    printed = capsys.readouterr().out
    assert "| poor " in printed
    assert "BLEU|nrefs:1|bs:100|seed:12345" in printed
    assert "against 'poor'" in printed

    output = tmp_path / "deep" / "scores.json"
    command = ["score", "--hypothesis", f"poor={poor}", f"good={good}", *options, "--format", "json"]
    assert main([*command, "--output", str(output)]) == 0
    assert capsys.readouterr().out == ""
    document = json.loads(output.read_text())
    assert document["baseline"] == "poor"
    assert [system["name"] for system in document["systems"]] == ["poor", "good"]
    assert 0 < document["systems"][1]["scores"]["BLEU"]["p_value"] < 0.05
    assert [path.name for path in output.parent.iterdir()] == ["scores.json"]


def test_command_adds_rouge_for_summaries(files, capsys):
    good, reference = files(good=GOOD, reference=REFERENCE)
    assert (
        main(["score", "--hypothesis", good, "--reference", reference, "--metrics", "chrf", "--rouge"]) == 0
    )
    heading = capsys.readouterr().out.splitlines()[0]
    assert [cell.strip() for cell in heading.split("|")[1:-1]] == [
        "system",
        "chrF2",
        "ROUGE-1",
        "ROUGE-2",
        "ROUGE-L",
    ]


def test_command_refuses_bad_files(files, tmp_path, capsys):
    good, reference = files(good=GOOD, reference=REFERENCE)
    missing = str(tmp_path / "missing.txt")
    assert main(["score", "--hypothesis", missing, "--reference", reference]) == 2
    assert f"cmlm-kd score: {missing} does not exist" in capsys.readouterr().err

    broken = tmp_path / "broken.txt"
    broken.write_bytes(b"fine\n\xff\xfe\n")
    assert main(["score", "--hypothesis", str(broken), "--reference", reference]) == 2
    assert "line 2: byte 1 (0xff) is not UTF-8" in capsys.readouterr().err

    assert main(["score", "--hypothesis", good, good, "--reference", reference]) == 2
    assert "two systems are called 'good.txt'" in capsys.readouterr().err
