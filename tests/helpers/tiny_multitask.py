"""Four tiny tasks: a sentence's opinion, entailment, similarity, and the right answer among two."""

from tiny_classification import sentences, write_bert, write_pairs, write_sst2

TASKS = "SST-2,RTE,STS-B,QNLI"


def write_qnli(folder, train=8, dev=4):
    """Write questions, each with a right and a wrong answer, and one with a single answer."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, count, seed in (("train", train, 21), ("dev", dev, 22)):
        queries = [f"{text} the {i % 7 * 'very '}film" for i, (text, _) in enumerate(sentences(count, seed))]
        rows = [
            f"{query}\t{text}\t{'entailment' if right else 'not_entailment'}"
            for query, (text, _), (other, _) in zip(
                queries, sentences(count, seed + 1), sentences(count, seed + 2), strict=True
            )
            for text, right in ((text, True), (other, False))
        ]
        rows.append("alone\tgood film\tentailment")
        lines = ["index\tquestion\tsentence\tlabel", *(f"{i}\t{row}" for i, row in enumerate(rows))]
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def write_tasks(glue):
    """Write the four corpora in a folder each, as GLUE is published."""
    write_sst2(glue / "SST-2")
    write_pairs(glue / "RTE")
    write_pairs(glue / "STS-B", "STS-B")
    write_qnli(glue / "QNLI")
    return glue


def write_teachers(folder):
    """Write two teachers of opinions, and one each of entailment, similarity and answers."""
    write_bert(folder / "sst-a", layers=2)
    write_bert(folder / "sst-b", layers=2, seed=1)
    write_bert(folder / "rte", labels=("entailment", "not_entailment"), layers=2, seed=2)
    write_bert(folder / "sts", labels=(), layers=2, seed=3)
    write_bert(folder / "answers", labels=(), layers=2, seed=4)
    return folder


def multitask(root, save_dir, *flags, corpora=TASKS, criterion="mtdnn_kd"):
    """Flags of a short training run in a folder with ``glue`` and ``encoder``."""
    ranking = ("--ranking", "QNLI") if "QNLI" in corpora.split(",") else ()
    return (
        *(root / "glue", "--task", "multitask_kd", "--corpora", corpora, *ranking),
        *("--arch", "multitask_bert", "--bert", root / "encoder", "--criterion", criterion),
        *("--optimizer", "bert_adamw", "--cpu", "--batch-size", 8, "--save-dir", save_dir, "--seed", 1),
        *("--max-update", 2, "--no-epoch-checkpoints", "--no-progress-bar", *flags),
    )
