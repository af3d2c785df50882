"""Model cards: README.md with the head that the Hugging Face hub reads, and how to publish a directory."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from cmlm_kd.api.registry import kd_criteria
from cmlm_kd.criteria import load_criteria
from cmlm_kd.models.exported import CARD, ExportRecord
from cmlm_kd.system.text import table

_LICENCE = (
    "license:  # FILL IN the licence that you publish under, such as mit; mind those of teacher and data\n"
)
_LIBRARIES = {"huggingface": "transformers", "ctranslate2": "ctranslate2", "onnx": "onnx"}

_FAIRSEQ = """\
@inproceedings{ott-etal-2019-fairseq,
  title = {fairseq: A Fast, Extensible Toolkit for Sequence Modeling},
  author = {Ott, Myle and Edunov, Sergey and Baevski, Alexei and Fan, Angela and Gross, Sam and Ng, Nathan and
    Grangier, David and Auli, Michael},
  booktitle = {Proceedings of NAACL-HLT 2019: Demonstrations},
  year = {2019},
  url = {https://aclanthology.org/N19-4009},
}"""


@dataclass(frozen=True)
class CardFacts:
    """What a model card says beside the manifest.

    Attributes:
        title: of the card.
        data: what it was trained on, name -> value.
        teacher: name of the teacher's model or of its tokenizer; None where there was none.
        criterion: that it was trained with, as ``--criterion`` has it.
        settings: of the criterion, name -> value.
        metrics: rows of a table: metric, data, value.
        code: how to use it, in Python.
    """

    title: str
    data: Mapping[str, object] = field(default_factory=dict)
    teacher: str | None = None
    criterion: str | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    metrics: Sequence[tuple[str, str, float]] = ()
    code: str = ""


def write_card(directory: Path, record: ExportRecord, facts: CardFacts, checked: Sequence[str]) -> None:
    """Write ``README.md``.

    Args:
        directory: the exported one.
        record: its manifest.
        facts: all else.
        checked: lines about the comparison with the checkpoint; none where nothing was compared.
    """
    parts = [
        f"---\n{_head(record, facts)}---\n",
        f"# {facts.title}\n",
        f"A {record.architecture} of fairseq for {record.task}, exported to {record.target} "
        f"({record.quantization}) by cmlm-kd {record.version}.\n",
        f"## Use\n\n```python\n{facts.code.rstrip()}\n```\n" if facts.code else "",
        f"## Training\n\n{_training(record, facts)}\n",
        _evaluation(record, facts, checked),
        f"## Citations\n\n{_citations(facts)}\n",
    ]
    (directory / CARD).write_text("\n".join(part for part in parts if part), encoding="utf-8")


def publishing(directory: Path) -> list[str]:
    """Return the two commands that publish a directory on the hub; nothing here ever runs them."""
    name = f"USER/{directory.resolve().name}"
    return [
        f"hf repos create {shlex.quote(name)}",
        f"hf upload {shlex.quote(name)} {shlex.quote(str(directory))}",
    ]


def _head(record: ExportRecord, facts: CardFacts) -> str:
    kind = "translation" if record.task == "translation" else "text-classification"
    head: dict[str, object] = {
        "language": list(dict.fromkeys(record.languages)) or ["en"],
        "library_name": _LIBRARIES[record.target],
        "pipeline_tag": kind,
        "tags": [kind, "knowledge-distillation", "cmlm-kd", "fairseq"],
    }
    if not record.languages:
        del head["language"]
    if facts.metrics:
        head["metrics"] = list(dict.fromkeys(metric.lower() for metric, _, _ in facts.metrics))
        results = [
            {
                "task": {"type": kind},
                "dataset": {"name": data, "type": data},
                "metrics": [{"type": metric.lower(), "value": value}],
            }
            for metric, data, value in facts.metrics
        ]
        head["model-index"] = [{"name": facts.title, "results": results}]
    return _LICENCE + str(yaml.safe_dump(head, sort_keys=False, allow_unicode=True))


def _training(record: ExportRecord, facts: CardFacts) -> str:
    rows = [
        *([("languages", " to ".join(record.languages))] if record.languages else []),
        *([("classes", ", ".join(record.labels) or "a score")] if record.task == "classification" else []),
        *((name, str(value)) for name, value in facts.data.items()),
        ("teacher's tokenizer" if record.task == "translation" else "teacher", facts.teacher or "none"),
        ("criterion", facts.criterion or "unknown"),
        *((name, str(value)) for name, value in facts.settings.items()),
        ("KD signature", f"`{record.kd_signature}`" if record.kd_signature else "none: no teacher"),
    ]
    return table([("", "value"), *_cells(rows)])


def _cells(rows: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return rows in which no bar ends a cell: it does in code too, and KD signatures have several."""
    return [tuple(cell.replace("|", "\\|") for cell in row) for row in rows]


def _evaluation(record: ExportRecord, facts: CardFacts, checked: Sequence[str]) -> str:
    said = []
    if facts.metrics:
        rows = [(metric, data, f"{value:g}") for metric, data, value in facts.metrics]
        said.append(table([("metric", "data", "value"), *_cells(rows)]))
    if checked:
        said.append(
            "Compared with the checkpoint that it was made of:\n\n"
            + "\n".join(f"- {line.strip()}" for line in checked)
        )
    if not said:
        return ""
    return "## Evaluation\n\n" + "\n\n".join(said) + "\n"


def _citations(facts: CardFacts) -> str:
    """Return the papers as BibTeX: those of the criterion, and that of fairseq."""
    load_criteria()
    own = ""
    if facts.criterion is not None and facts.criterion in kd_criteria:
        own = str(getattr(kd_criteria.get(facts.criterion).cls, "citation", "")).strip()
    return "```bibtex\n" + "\n\n".join(filter(None, [own, _FAIRSEQ])) + "\n```"
