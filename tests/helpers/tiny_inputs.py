"""What every task of the plug-in reads, in one folder."""

from tiny_classification import write_bert, write_masked_lm, write_sst2
from tiny_corpus import write_split, write_store
from tiny_multitask import write_tasks


def write_inputs_of_all_tasks(root):
    """Write ``data`` and ``store`` of translation, ``sst``, ``glue``, ``encoder``, ``mlm`` and ``text``."""
    for seed, (split, rows) in enumerate({"train": 24, "valid": 6, "test": 6}.items()):
        write_split(root / "data", split, rows, seed)
    write_store(root / "store", root / "data")
    write_sst2(root / "sst", train=16, dev=8)
    write_tasks(root / "glue")
    write_bert(root / "encoder", labels=None, layers=1)
    write_masked_lm(root / "mlm")
    text = root / "text"
    text.mkdir()
    for name in ("train", "valid"):
        (text / f"{name}.txt").write_text("the film was good and the plot was fine\n" * 6)
