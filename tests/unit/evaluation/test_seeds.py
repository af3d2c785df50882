"""Runs of several seeds as one line: against SciPy, against chance, and what is refused; the best of logs."""

import json

import numpy as np
import pytest
from scipy import stats
from tiny_classification import sentences, write_pairs, write_sst2

from cmlm_kd.cli import main
from cmlm_kd.data.classification import ReadingOptions, hold_out, read_examples
from cmlm_kd.errors import UserError
from cmlm_kd.evaluation.glue import METRICS
from cmlm_kd.evaluation.seeds import Run, compare, comparison_table, read_runs

LABELS = ("negative", "positive")


def make_runs(system, rates, count=200, seed=0):
    """Runs of which each has a class right with its own probability."""
    generator = np.random.default_rng(seed)
    target = np.random.default_rng(99).integers(0, 2, count)
    runs = []
    for number, rate in enumerate(rates, 1):
        predicted = np.where(generator.random(count) < rate, target, 1 - target)
        accuracy = 100 * float(np.mean(predicted == target))
        runs.append(
            Run(f"{system}@{number}", {"accuracy": accuracy}, 10, {"1": 5.0 * number}, predicted, target)
        )
    return runs


def write_evaluation(folder, runs):
    """Write the files of 'cmlm-kd evaluate' for such runs."""
    folder.mkdir(parents=True, exist_ok=True)
    models = []
    for run in runs:
        rows = [
            f"{row}\t{LABELS[predicted]}\t{LABELS[target]}\t0.5\t0.5"
            for row, (predicted, target) in enumerate(zip(run.predicted, run.target, strict=True))
        ]
        header = "index\tprediction\ttarget\tp(negative)\tp(positive)"
        (folder / f"{run.name}.tsv").write_text("\n".join([header, *rows]) + "\n")
        own = {"name": run.name, "metrics": run.metrics, "parameters": run.parameters}
        models.append({**own, "examples_per_second": run.speed})
    (folder / "results.json").write_text(json.dumps({"examples": len(runs[0].target), "models": models}))
    return folder / "results.json"


def test_without_a_spread_over_examples_it_is_welchs_test():
    """Every run is wrong in a fixed share of equal rows: only seeds vary, so the bootstrap adds nothing."""

    def run(name, value):
        return Run(name, {"accuracy": value}, 1, {}, np.ones(50, int), np.ones(50, int))

    first, second = [81.0, 84.0, 82.5], [86.0, 85.0, 88.5, 87.0]
    found = compare(
        [run(f"b@{i}", v) for i, v in enumerate(second)],
        [run(f"a@{i}", v) for i, v in enumerate(first)],
        "accuracy",
    )
    expected = stats.ttest_ind(second, first, equal_var=False)
    assert found.examples_error == 0 and found.value == pytest.approx(np.mean(second) - np.mean(first))
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-4)


def test_the_bootstrap_is_paired_over_examples():
    """Two systems that err on the same examples differ by nothing, however few examples there are."""
    alone = make_runs("alone", [0.7, 0.7, 0.7])
    same = [Run(f"same@{i}", run.metrics, 1, {}, run.predicted, run.target) for i, run in enumerate(alone)]
    found = compare(same, alone, "accuracy")
    assert found.value == 0 and found.examples_error == pytest.approx(0, abs=1e-9) and found.p_value == 1
    one = compare(make_runs("other", [0.7], seed=1), make_runs("alone", [0.7], seed=2), "accuracy")
    rates = 0.7 * 0.3 / 200  # variance of one run's accuracy
    assert one.examples_error == pytest.approx(100 * np.sqrt(2 * rates), rel=0.2)
    # Runs that err independently vary no more than their seeds show; that is not counted again.
    several = compare(
        make_runs("other", [0.7] * 9, seed=1), make_runs("alone", [0.7] * 9, seed=2), "accuracy"
    )
    assert several.error == pytest.approx(100 * np.sqrt(2 * rates / 9), rel=0.35)


def test_nothing_is_found_where_there_is_nothing():
    """Of ten comparisons of equal systems hardly one is called significant."""
    found = [
        compare(
            make_runs("b", [0.8] * 3, 60, seed), make_runs("a", [0.8] * 3, 60, seed + 500), "accuracy"
        ).p_value
        for seed in range(10)
    ]
    assert sum(p < 0.05 for p in found) <= 2
    assert compare(make_runs("b", [0.9] * 3), make_runs("a", [0.7] * 3), "accuracy").p_value < 0.01


def test_the_command(tmp_path, capsys):
    runs = [
        *make_runs("teacher", [0.95])[:1],
        *make_runs("alone", [0.7] * 3),
        *make_runs("distilled", [0.9] * 3, seed=1),
    ]
    runs[0] = Run("teacher", *list(vars(runs[0]).values())[1:])
    results = write_evaluation(tmp_path, runs)
    arguments = ["compare-seeds", str(results), "--predictions", str(tmp_path), "--baseline", "alone"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    values = [run.metrics["accuracy"] for run in runs if run.system == "distilled"]
    assert f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}" in printed
    assert (
        "| teacher   |    1 |" in printed
        and "distilled: +" in printed
        and "; significant (p = 0.0" in printed
    )
    assert main([*arguments, "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    expected = compare(runs[4:], runs[1:4], "accuracy")
    assert document["differences"] == {"distilled": expected.to_document()}


def test_one_run_each_is_shown_and_not_tested(tmp_path, capsys):
    results = write_evaluation(tmp_path, [*make_runs("alone", [0.7]), *make_runs("distilled", [0.9])])
    assert main(["compare-seeds", str(results), "--predictions", str(tmp_path), "--baseline", "alone"]) == 0
    printed = capsys.readouterr().out
    assert "distilled: not tested against alone" in printed and "±" not in printed.splitlines()[2]


def test_scores(tmp_path):
    (tmp_path / "a@1.tsv").write_text("index\tprediction\ttarget\n0\t1.500\t2.000\n1\t3.250\t3.000\n")
    model = {"name": "a@1", "metrics": {"pearson": 99.97}, "parameters": 3, "examples_per_second": {}}
    (tmp_path / "results.json").write_text(json.dumps({"models": [model]}))
    (run,) = read_runs(tmp_path / "results.json", tmp_path)
    assert run.predicted.tolist() == [1.5, 3.25] and run.target.tolist() == [2.0, 3.0]
    assert "99.97" in comparison_table([run])  # of scores that were not rounded yet


@pytest.mark.parametrize("scale", [1.0, 0.002, 1e-5])
def test_scores_are_rounded_in_predictions(tmp_path, scale):
    """The metrics of what is written are off those of the results, the more the less scores differ."""
    generator = np.random.default_rng(3)
    target = generator.normal(size=60)
    predicted = 1 + scale * (target + generator.normal(size=60))
    rows = [f"{row}\t{predicted[row]:.3f}\t{target[row]:.3f}" for row in range(60)]
    (tmp_path / "a@1.tsv").write_text("\n".join(["index\tprediction\ttarget", *rows]) + "\n")
    results = tmp_path / "results.json"

    def read_with(**metrics):
        model = {"name": "a@1", "metrics": metrics, "parameters": 3, "examples_per_second": {}}
        results.write_text(json.dumps({"models": [model]}))
        return read_runs(results, tmp_path)

    found = {name: 100 * METRICS[name](predicted, target) for name in ("pearson", "spearman")}
    assert read_with(**found)[0].metrics == found
    for name, value in found.items():
        with pytest.raises(UserError, match=f"a@1 has {name} "):
            read_with(**{name: value - 2 if scale == 1 else 101.0})


def test_a_correlation_of_scores_that_are_all_right(tmp_path):
    scores = "".join(f"{row}\t{row / 10:.3f}\t{row / 10:.3f}\n" for row in range(7))
    (tmp_path / "a@1.tsv").write_text(f"index\tprediction\ttarget\n{scores}")
    model = {"name": "a@1", "metrics": {"pearson": 100 + 1e-13}, "parameters": 3, "examples_per_second": {}}
    (tmp_path / "results.json").write_text(json.dumps({"models": [model]}))
    assert read_runs(tmp_path / "results.json", tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 800, -1, 71.0])
def test_results_of_another_evaluation_than_the_predictions_are_refused(tmp_path, value):
    results = write_evaluation(tmp_path, make_runs("alone", [0.7] * 2))
    document = json.loads(results.read_text())
    document["models"][1]["metrics"]["accuracy"] = value
    results.write_text(json.dumps(document))
    with pytest.raises(
        UserError, match=r"results.json: alone@2 has accuracy \S+, its predictions .*alone@2.tsv have [67]\d"
    ):
        read_runs(results, tmp_path)


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_examples_are_refused(tmp_path, count):
    runs = make_runs("alone", [0.7] * 2, 2)
    cut = [Run(run.name, {"accuracy": 100.0}, 1, {}, run.target[:count], run.target[:count]) for run in runs]
    results = write_evaluation(tmp_path, cut)
    with pytest.raises(UserError, match=rf"alone@1.tsv has {count} of the 2 examples or more that a test"):
        read_runs(results, tmp_path)


def test_what_is_refused(tmp_path):
    runs = [*make_runs("alone", [0.7] * 2), *make_runs("distilled", [0.9] * 2)]
    results = write_evaluation(tmp_path, runs)
    command = ["compare-seeds", str(results), "--predictions", str(tmp_path), "--baseline"]
    assert main([*command, "lonely"]) == 2
    assert main([*command, "alone", "--metric", "bleu"]) == 2
    (tmp_path / "alone@2.tsv").write_text(
        (tmp_path / "alone@2.tsv").read_text().replace("negative", "positive")
    )
    with pytest.raises(UserError, match=r"alone@2 and alone@1 are not of the same examples"):
        read_runs(results, tmp_path)
    whole = json.loads(results.read_text())
    results.write_text(json.dumps({"models": [{**whole["models"][0], "name": "nobody@1"}]}))
    with pytest.raises(
        UserError, match=r"names nobody@1, and .*nobody@1\.tsv does not exist; give the --pred"
    ):
        read_runs(results, tmp_path)
    for models, message in (
        ([whole["models"][0]] * 2, "names alone@1 twice; give each run a name of its own"),
        (
            [{**whole["models"][0], "metrics": {"bleu": 1.0}}],
            "has 'bleu', of such predictions as .*alone@1.tsv there are acc",
        ),
    ):
        results.write_text(json.dumps({"models": models}))
        with pytest.raises(UserError, match=message):
            read_runs(results, tmp_path)
    for document, message in (
        ({}, r"models is missing"),
        ({"models": []}, r"names no model"),
        ({"models": [{**whole["models"][0], "metrics": 0.5}]}, r"metrics is 0\.5, it should be"),
    ):
        results.write_text(json.dumps(document))
        with pytest.raises(UserError, match=message + r".*give what 'cmlm-kd evaluate --format json' wrote"):
            read_runs(results, tmp_path)
    results.write_text(json.dumps(whole))
    for text in (
        "",
        "index\tprediction\ttarget\tp(a)\n0\ta\n",
        "index\tprediction\ttarget\n0\tx\t1\n",
        "index\tprediction\ttarget\n0\tnan\t1\n",
    ):
        (tmp_path / "alone@1.tsv").write_text(text)
        with pytest.raises(UserError, match=r"alone@1\.tsv(, line 2: .*evaluate again| has no targets)"):
            read_runs(results, tmp_path)


# The best of several trainings


def log(path, *values):
    lines = [
        f"epoch 001 | valid on 'valid' subset | loss 1 | accuracy {value} | num_updates {number}"
        for number, value in enumerate(values, 1)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_choose(tmp_path, capsys):
    logs = [
        log(tmp_path / "a.log", 0.5, 0.7),
        log(tmp_path / "b.log", 0.9, 0.6),
        log(tmp_path / "c.log", 0.9),
    ]
    assert main(["choose", "--metric", "accuracy", *map(str, logs)]) == 0
    assert capsys.readouterr().out == "b\n"  # the first of equals
    assert main(["choose", "--metric", "accuracy", "--best", "2", f"x={logs[0]}", f"y={logs[2]}"]) == 0
    assert capsys.readouterr().out == "y x\n"
    assert main(["choose", "--metric", "accuracy", "--minimize", *map(str, logs)]) == 0
    assert capsys.readouterr().out == "a\n"
    for wrong in (["--metric", "f1"], ["--metric", "accuracy", "--best", "4"]):
        assert main(["choose", *wrong, *map(str, logs)]) == 2
    assert "--best is 4; it must be from 1 to 3" in capsys.readouterr().err
    assert main(["choose", "--metric", "accuracy", str(logs[0]), str(logs[0])]) == 2


# A corpus of the examples that are held out


@pytest.mark.parametrize(("corpus", "write"), [("SST-2", write_sst2), ("RTE", write_pairs)])
def test_split_is_what_hold_out_takes(tmp_path, corpus, write, capsys):
    data = write(tmp_path / "data")
    options = ReadingOptions(corpus)
    command = ["split", str(data), "--corpus", corpus, "--hold-out", "0.25", "--hold-out-seed", "7"]
    assert main([*command, "--output", str(tmp_path / "split")]) == 0
    expected = hold_out(read_examples(data, "train", options), 0.25, 7)
    for name, part in zip(("train", "valid"), expected, strict=True):
        found = read_examples(tmp_path / "split", name, options)
        assert found.text_hash() == part.text_hash() and np.array_equal(found.target, part.target)
    assert main([*command, "--output", str(tmp_path / "split")]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert main([*command, "--output", str(tmp_path / "other"), "--hold-out", "1.5"]) == 2
    assert not (tmp_path / "other").exists()


def test_split_of_plain_text(tmp_path):
    rows = "".join(f"{text}\t{LABELS[label]}\n" for text, label in sentences(20))
    (tmp_path / "train.tsv").write_text(rows)
    assert main(["split", str(tmp_path), "--corpus", "text", "--output", str(tmp_path / "split")]) == 0
    lines = [(tmp_path / "split" / name).read_text().splitlines() for name in ("train.tsv", "dev.tsv")]
    assert sorted(lines[0] + lines[1]) == sorted(rows.splitlines()) and len(lines[1]) == 2


def test_a_name_in_the_results_leads_to_no_other_folder(tmp_path):
    model = {"name": "../a@1", "metrics": {"pearson": 99.0}, "parameters": 3, "examples_per_second": {}}
    (tmp_path / "results.json").write_text(json.dumps({"models": [model]}))
    with pytest.raises(UserError, match=r"model '\.\./a@1': a file gets this name, and it must not be"):
        read_runs(tmp_path / "results.json", tmp_path / "predictions")
