"""Several runs of a system, and clusters of lines: means, tests, refusals, and the command's words."""

import json
import random
import statistics

import pytest
import sacrebleu
from documentation import commands

from cmlm_kd.cli import main
from cmlm_kd.errors import UserError
from cmlm_kd.evaluation.translation import ScoreSettings, evaluate

REFERENCE = [f"The train number {n} leaves at {n % 12} o'clock on Monday, March {n}." for n in range(1, 41)]
CLUSTERS = [f"clause {n // 8}" for n in range(40)]  # five of eight lines
SETTINGS = ScoreSettings(metrics=("bleu", "chrf"), bootstrap_samples=200)


def spoilt(lines, seed, share=0.3):
    """Each word is lost with a probability of ``share``."""
    generator = random.Random(seed)
    return [
        " ".join("x" if generator.random() < share else word for word in line.split(" ")) for line in lines
    ]


def spoilt_where(positions):
    return [line.replace("leaves at", "is") if n in positions else line for n, line in enumerate(REFERENCE)]


def three_runs(name, share, first_seed):
    return {f"{name}@{n}": spoilt(REFERENCE, first_seed + n, share) for n in (1, 2, 3)}


def test_every_run_has_sacrebleus_score_and_a_system_their_mean():
    runs = {**three_runs("alone", 0.4, 0), **three_runs("distilled", 0.3, 10), "teacher": REFERENCE}
    result = evaluate(runs, [REFERENCE], SETTINGS)
    assert list(result.systems) == ["alone", "distilled", "teacher"]
    for metric, corpus_score in (("BLEU", sacrebleu.corpus_bleu), ("chrF2", sacrebleu.corpus_chrf)):
        expected = {
            run: corpus_score(lines, [REFERENCE]).score for run, lines in runs.items() if "alone" in run
        }
        score = result.systems["alone"][metric]
        assert score.runs == pytest.approx(expected, rel=1e-12)
        assert score.value == pytest.approx(statistics.fmean(expected.values()))
        assert score.deviation == pytest.approx(statistics.stdev(expected.values()))
        assert result.systems["teacher"][metric].deviation is None
    assert result.runs_test is None and result.systems["alone"]["BLEU"].difference is None
    assert result.signatures["BLEU"].startswith("nrefs:1|case:mixed")


def test_scores_do_not_depend_on_the_clusters_and_gaps_among_references_are_kept():
    second = ["" if n % 2 else line for n, line in enumerate(spoilt(REFERENCE, 3))]
    settings = ScoreSettings(("bleu", "chrf", "ter", "rouge"), bootstrap_samples=10)
    lines = {"a": spoilt(REFERENCE, 1), "b": spoilt(REFERENCE, 2)}
    plain = evaluate(lines, [REFERENCE, second], settings)
    clustered = evaluate(lines, [REFERENCE, second], settings, "b", CLUSTERS)
    assert list(clustered.systems) == ["b", "a"], "the baseline comes first"
    for system, scores in plain.systems.items():
        for metric, score in scores.items():
            assert clustered.systems[system][metric].value == pytest.approx(score.value, rel=1e-12)


def test_better_runs_are_found_and_their_interval_is_of_the_difference():
    runs = {**three_runs("alone", 0.4, 0), **three_runs("distilled", 0.2, 10)}
    result = evaluate(runs, [REFERENCE], SETTINGS, "alone", CLUSTERS)
    for metric in ("BLEU", "chrF2"):
        score = result.systems["distilled"][metric]
        found = score.difference
        assert found.value == pytest.approx(score.value - result.systems["alone"][metric].value)
        assert score.p_value == found.p_value < 0.05
        assert 0 < found.interval[0] < found.value < found.interval[1]
        assert found.detectable > found.value - found.interval[0]
    assert result.systems["alone"]["BLEU"].difference is None
    assert evaluate(runs, [REFERENCE], SETTINGS, "alone", CLUSTERS) == result


def test_equal_systems_differ_by_nothing():
    lines = spoilt(REFERENCE, 1)
    runs = {f"{name}@{n}": list(lines) for name in ("a", "b") for n in (1, 2, 3)}
    for clusters in (CLUSTERS, None):
        score = evaluate(runs, [REFERENCE], SETTINGS, "a", clusters).systems["b"]["BLEU"]
        assert (score.difference.value, score.p_value, score.difference.interval) == (0, 1, (0, 0))


def test_the_same_runs_in_another_order_are_no_other_system():
    runs = three_runs("a", 0.3, 0)
    runs |= {f"b@{n}": runs[f"a@{4 - n}"] for n in (1, 2, 3)}
    score = evaluate(runs, [REFERENCE], SETTINGS, "a").systems["b"]["BLEU"]
    assert score.difference.value == pytest.approx(0, abs=1e-9)
    assert score.p_value == pytest.approx(1)


def test_a_difference_in_one_cluster_alone_is_not_significant():
    """Eight lines of 40 are worse: many sentences, and yet one clause."""
    runs = {"a": spoilt_where(range(8)), "b": REFERENCE}
    by_cluster = evaluate(runs, [REFERENCE], SETTINGS, "a", CLUSTERS).systems["b"]["BLEU"].difference
    by_line = evaluate(runs, [REFERENCE], SETTINGS, "a", [str(n) for n in range(40)])
    by_line = by_line.systems["b"]["BLEU"].difference
    assert by_cluster.value == pytest.approx(by_line.value)
    assert by_cluster.p_value > 0.2
    assert by_line.p_value < 0.05
    assert not by_cluster.of_seeds
    # The same number of lines, spread over all clusters, is significant.
    assert "±" not in evaluate(runs, [REFERENCE], SETTINGS, "a", CLUSTERS).to_text()
    spread = evaluate(
        {"a": spoilt_where(range(0, 40, 5)), "b": REFERENCE}, [REFERENCE], SETTINGS, "a", CLUSTERS
    )
    assert spread.systems["b"]["BLEU"].p_value < 0.01


def test_seeds_that_disagree_make_p_large():
    alone = {f"alone@{n}": spoilt_where(range(n)) for n in (9, 10, 11)}
    agreed = {f"b@{n}": spoilt_where(range(20, 20 + n)) for n in (2, 3, 4)}
    torn = {f"b@{n}": spoilt_where(range(20, 20 + n)) for n in (0, 1, 19)}
    lines = [str(n) for n in range(40)]
    one, other = (
        evaluate({**alone, **runs}, [REFERENCE], SETTINGS, "alone", lines).systems["b"]["BLEU"].difference
        for runs in (agreed, torn)
    )
    assert one.seeds_error < other.seeds_error
    assert one.p_value < other.p_value
    assert other.p_value > 0.3


def test_one_run_against_three_is_not_tested():
    runs = {**three_runs("alone", 0.4, 0), "distilled": REFERENCE}
    score = evaluate(runs, [REFERENCE], SETTINGS, "alone").systems["distilled"]["BLEU"]
    assert (score.p_value, score.difference) == (None, None)


def test_random_systems_are_seldom_called_different():
    settings = ScoreSettings(metrics=("bleu",), bootstrap_samples=60)
    lines = REFERENCE[:20]
    found = []
    for trial in range(60):
        runs = {
            f"{name}@{n}": spoilt(lines, f"{trial}{name}{n}", 0.3 + 0.02 * n)
            for name in "ab"
            for n in (0, 1, 2)
        }
        found.append(evaluate(runs, [lines], settings, "a", CLUSTERS[:20]).systems["b"]["BLEU"].p_value)
    assert sum(p < 0.05 for p in found) <= 7  # three are expected
    assert sum(p < 0.5 for p in found) in range(18, 43)


@pytest.mark.parametrize(
    ("clusters", "baseline", "words"),
    [
        (CLUSTERS[1:], "alone", "--clusters has 39 lines, reference 1 has 40; give one label for each line"),
        (["clause"] * 40, "alone", "all lines are in one cluster, 'clause'; a test needs two or more"),
        (CLUSTERS, "alone@1", "baseline 'alone@1' is not among the systems: 'alone', 'distilled'"),
    ],
)
def test_misfits_are_named(clusters, baseline, words):
    runs = {**three_runs("alone", 0.4, 0), **three_runs("distilled", 0.2, 10)}
    with pytest.raises(UserError, match=words):
        evaluate(runs, [REFERENCE], SETTINGS, baseline, clusters)


def test_a_single_resample_has_no_variance():
    """It would count as none of the examples', and make the error of a difference too small."""
    settings = ScoreSettings(("bleu",), bootstrap_samples=1)
    lines = {"a": spoilt(REFERENCE, 1), "b": spoilt(REFERENCE, 2)}
    assert evaluate(lines, [REFERENCE], settings, None, CLUSTERS).runs_test is None
    with pytest.raises(UserError, match=r"--paired-bs-n is 1: .* the variance of 2 resamples or more"):
        evaluate(lines, [REFERENCE], settings, "b", CLUSTERS)


def write(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(path)


def test_the_command_prints_means_verdicts_and_all_numbers(tmp_path, capsys):
    runs = {**three_runs("alone", 0.4, 0), **three_runs("distilled", 0.2, 10), "teacher": REFERENCE}
    files = [f"{run}={write(tmp_path / f'{run}.txt', lines)}" for run, lines in runs.items()]
    command = ["score", "--hypothesis", *files, "--reference", write(tmp_path / "reference", REFERENCE)]
    command += ["--baseline", "alone", "--clusters", write(tmp_path / "clauses", CLUSTERS)]
    command += ["--metrics", "bleu", "chrf", "--paired-bs-n", "200"]
    assert main(command) == 0
    printed = capsys.readouterr().out.splitlines()
    result = evaluate(runs, [REFERENCE], SETTINGS, "alone", CLUSTERS)
    score = result.systems["distilled"]["BLEU"]
    assert [cell.strip() for cell in printed[0].split("|")[1:-1]] == ["system", "runs", "BLEU", "chrF2"]
    cells = [cell.strip() for cell in printed[3].split("|")[1:-1]]
    assert cells[:3] == ["distilled", "3", f"{score.value:.2f} ± {score.deviation:.2f}"]
    (sentence,) = [line for line in printed if line.startswith("distilled: +") and " BLEU " in line]
    assert (
        f"clusters {score.difference.examples_error:.2f}); significant (p = {score.p_value:.4f}" in sentence
    )
    assert sentence.endswith(f"in four trials of five: {score.difference.detectable:.2f}")
    assert "teacher: not tested against alone, which takes two runs of each or more" in printed
    assert any("5 clusters (bootstrap, 200 resamples, seed 12345)" in line for line in printed)

    assert main([*command, "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["test"] == {
        "test": "t of runs and clusters",
        "clusters": 5,
        "resamples": 200,
        "seed": 12345,
        "level": 0.05,
        "power": 0.8,
    }
    (found,) = [system for system in document["systems"] if system["name"] == "distilled"]
    assert found["scores"]["BLEU"] == {
        "score": score.value,
        "p_value": score.p_value,
        "confidence": None,
        "deviation": score.deviation,
        "runs": score.runs,
        "difference": score.difference.to_document(),
    }


def test_the_page_shows_a_command_that_works(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (words,) = commands("docs/significance.md")
    for seed, word in enumerate(word for word in words if "@" in word):
        write(tmp_path / word.partition("=")[2], spoilt(REFERENCE, seed, 0.2 if "distilled" in word else 0.5))
    write(tmp_path / "test.en", REFERENCE)
    write(tmp_path / "test.clauses", CLUSTERS)
    assert main([*words[1:], "--metrics", "bleu"]) == 0
    assert "| distilled |    3 |" in capsys.readouterr().out


def test_single_runs_without_clusters_are_tested_as_before(tmp_path, capsys):
    files = [
        write(tmp_path / name, lines) for name, lines in {"a@1": REFERENCE, "b": spoilt_where([1])}.items()
    ]
    command = ["score", "--hypothesis", *files, "--reference", files[0], "--baseline", "a@1"]
    assert main([*command, "--metrics", "bleu", "--paired-bs-n", "20", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert "test" not in document
    assert set(document["systems"][1]["scores"]["BLEU"]) == {"score", "p_value", "confidence"}
