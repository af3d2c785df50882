"""Export of classifiers: written aside, compared with the checkpoint, and only then in its place."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cmlm_kd.criteria.signature import signature_by_teachers
from cmlm_kd.data.classification.texts import TextPlace
from cmlm_kd.deployment.classifier_texts import ComparedTexts, texts_of_file, texts_of_training
from cmlm_kd.deployment.model_card import CardFacts, write_card
from cmlm_kd.deployment.onnx_files import OPSET, GraphSettings, check_opset
from cmlm_kd.deployment.parity import check_share
from cmlm_kd.deployment.snippets import HUGGING_FACE_CLASSIFIER, ONNX_CLASSIFIER, ONNX_WORDS, filled
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.checkpoints import number_of_updates, read_checkpoint, settings_of
from cmlm_kd.models.bilstm.model import BiLSTMClassifier
from cmlm_kd.models.encoders.pretrained import check_finite
from cmlm_kd.models.exported import EXPORT_MANIFEST, ExportRecord
from cmlm_kd.models.fastbert.model import FastBERTClassifier
from cmlm_kd.models.loading import load_student
from cmlm_kd.models.multitask import ARCHITECTURE, TaskClassifier
from cmlm_kd.models.text_classification import ClassifiedTexts, classify_texts
from cmlm_kd.system.environment import installed_version
from cmlm_kd.system.files import check_new_directory, directory_written_aside
from cmlm_kd.system.ranges import SHARE, check_range
from cmlm_kd.system.transformers_reports import without_reports
from cmlm_kd.tokenization.saving import write_tokenizer
from cmlm_kd.version import __version__

_PACKAGES = {
    "huggingface": ("torch", "transformers", "tokenizers"),
    "onnx": ("torch", "onnx", "onnxscript", "onnxruntime", "tokenizers"),
}


@dataclass(frozen=True)
class ClassifierExport:
    """What to export, and how to check it.

    Attributes:
        checkpoint: of ``bert_classifier``, ``multitask_bert`` or ``bilstm_classifier``.
        target: ``huggingface`` or ``onnx``.
        output: directory to write.
        tokenizer: of a checkpoint whose ``--bert`` is gone.
        task: which of the tasks of a ``multitask_bert``.
        quantize: ``int8``, or None for float32.
        sentences: lines of text, or of text<TAB>text, to compare with; None: the dev set that the checkpoint
            was validated on, where that is there.
        references: the right class, or score, of each, one a line.
        least_equal: share of equal classes, 0 to 1; None for what suits the weights.
        opset: of ONNX; None for the oldest that there is.

    Raises:
        UserError: a value is out of its range.
    """

    checkpoint: Path
    target: str
    output: Path
    tokenizer: str | None = None
    task: str | None = None
    quantize: str | None = None
    sentences: Path | None = None
    references: Path | None = None
    least_equal: float | None = None
    opset: int | None = None

    def __post_init__(self) -> None:
        if self.opset is not None:
            check_opset(self.opset, self.target)
        if self.least_equal is not None:
            check_range("--least-equal", self.least_equal, SHARE)

    @property
    def quantization(self) -> str:
        """Type of the exported weights."""
        return self.quantize or "float32"


@dataclass(frozen=True)
class ClassifierParity:
    """How a classifier compares with its checkpoint on the same texts.

    Attributes:
        texts: how many.
        source: where they are from.
        equal: texts of the same class; of scores those that differ by less than a thousandth.
        largest_difference: of logits, or scores.
        accuracy_before, accuracy_after: where there are references; None for scores.
        of: ``classes`` or ``scores``.
    """

    texts: int
    source: str
    equal: int
    largest_difference: float
    accuracy_before: float | None = None
    accuracy_after: float | None = None
    of: str = "classes"

    def lines(self) -> list[str]:
        """Return what to print of it."""
        numbers = "logits" if self.of == "classes" else self.of
        said = [
            f"  {self.of} equal: {self.equal} of {self.texts}, on {self.source}",
            f"  largest difference of {numbers}: {self.largest_difference:.1e}",
        ]
        if self.accuracy_before is not None and self.accuracy_after is not None:
            said.append(f"  accuracy {self.accuracy_before:.2%} before, {self.accuracy_after:.2%} after")
        return said


def export_classifier(export: ClassifierExport) -> list[str]:
    """Write the directory, and return what to print of it.

    Raises:
        UserError: the target cannot hold the model, it classifies otherwise than the checkpoint, or the
            directory is not empty. Nothing is left then.
    """
    check_new_directory(export.output, "is not empty", "remove it or give another --output")
    state = read_checkpoint(export.checkpoint)
    model = _model(export)
    texts = _texts(export, state, model)
    with directory_written_aside(export.output, manifest=EXPORT_MANIFEST) as partial:
        if export.target == "onnx":
            from cmlm_kd.deployment.onnx_classifier import write_classifier_graph

            settings = GraphSettings(export.quantize, export.opset or OPSET)
            write_classifier_graph(model, partial, settings)
        else:
            with without_reports():
                model.model.save_pretrained(partial)
                model.inputs.tokenizer.model_max_length = model.inputs.max_length
                write_tokenizer(model.inputs.tokenizer, partial, model.model.config)
        record = _record(export, state, model)
        record.write(partial)
        parity = None if texts is None else _compared(export, model, partial, texts)
        lines = [] if parity is None else parity.lines()
        write_card(partial, record, _facts(export, state, model, texts, parity), lines)
        _record(export, state, model, parity).write(partial)
    loader = "AutoModelForSequenceClassification.from_pretrained"
    said = [f"{export.output}: written, for {loader if export.target == 'huggingface' else 'ONNX Runtime'}"]
    if parity is None:
        said.append(
            "  not compared with the checkpoint, whose dev set is gone: give some text with --sentences FILE"
        )
    return said + lines


def _model(export: ClassifierExport) -> Any:
    """Return the checkpoint's classifier in a form that the target holds."""
    name = settings_of(read_checkpoint(export.checkpoint), "model").get("_name")
    if export.task is not None and name != ARCHITECTURE:
        raise UserError(
            f"--task goes with checkpoints of {ARCHITECTURE}, this is one of {name}; leave it out"
        )
    model: Any = load_student(export.checkpoint, export.tokenizer, export.task)
    if isinstance(model, FastBERTClassifier):
        raise UserError(
            f"{export.checkpoint} is a FastBERT, which stops at a layer that depends on the text, and a "
            "graph does not stop; export it to huggingface and run it with 'cmlm-kd classify'"
        )
    if isinstance(model, TaskClassifier) and (
        export.target == "huggingface" or not model.model.tasks[model.task].san
    ):
        model = model.to_sequence_classifier()
    check_finite(model, str(export.checkpoint))
    return model.eval()


def _texts(export: ClassifierExport, state: dict[str, Any], model: Any) -> ComparedTexts | None:
    """Return what is to be compared; None where there is nothing."""
    if export.sentences is not None:
        return texts_of_file(export.sentences, export.references)
    if export.references is not None:
        raise UserError("--references are the classes of --sentences, which is not given; add it")
    return texts_of_training(state, export.task, tuple(model.labels))


def _compared(
    export: ClassifierExport,
    model: Any,
    directory: Path,
    texts: ComparedTexts,
) -> ClassifierParity:
    place = TextPlace(str(export.sentences or texts.name))
    before, after = (
        classify_texts(one, texts.first, texts.second, truncate=texts.truncate, place=place)
        for one in (model, load_student(directory))
    )
    differences = abs(before.logits - after.logits)  # (N, C)
    if model.labels:
        equal = sum(a == b for a, b in zip(before.labels, after.labels, strict=True))
    else:
        equal = int((differences.max(1) < 1e-3).sum())
    parity = ClassifierParity(
        len(texts.first),
        texts.name,
        equal,
        float(differences.max()),
        _accuracy(before, texts.right),
        _accuracy(after, texts.right),
        "classes" if model.labels else "scores",
    )
    check_share(
        parity.of,
        (parity.equal, parity.texts),
        parity.largest_difference,
        export.quantize is None,
        export.least_equal,
        str(export.output),
    )
    return parity


def _accuracy(found: ClassifiedTexts, right: Sequence[str] | None) -> float | None:
    if right is None or not found.labels:
        return None
    return sum(a == b for a, b in zip(found.labels, right, strict=True)) / len(right)


def _record(
    export: ClassifierExport, state: dict[str, Any], model: Any, parity: ClassifierParity | None = None
) -> ExportRecord:
    found = {name: installed_version(name) for name in _PACKAGES[export.target]}
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode() + tensor.contiguous().numpy().tobytes())
    return ExportRecord(
        format="cmlm-kd export",
        version=__version__,
        target=export.target,
        task="classification",
        architecture=str(settings_of(state, "model").get("_name") or settings_of(state, "model").get("arch")),
        quantization=export.quantization,
        most_source_tokens=int(model.inputs.max_length),
        most_target_tokens=0,
        model_hash=digest.hexdigest(),
        labels=tuple(model.labels),
        reads_pairs=model.reads_pairs,
        kd_signature=signature_by_teachers(state, export.task),
        opset=(export.opset or OPSET) if export.target == "onnx" else None,
        versions={name: number for name, number in found.items() if number is not None},
        parity={} if parity is None else asdict(parity),
    )


def _facts(
    export: ClassifierExport,
    state: dict[str, Any],
    model: Any,
    texts: ComparedTexts | None,
    parity: ClassifierParity | None,
) -> CardFacts:
    name = export.output.resolve().name
    criterion = settings_of(state, "criterion")
    code = HUGGING_FACE_CLASSIFIER
    if export.target == "onnx":
        code = ONNX_WORDS if isinstance(model, BiLSTMClassifier) else ONNX_CLASSIFIER
    example, second = texts.first[0] if texts else "a charming film", None
    if model.reads_pairs or (texts and texts.second):
        second = texts.second[0] if texts and texts.second else "the film is good"
    metrics = []
    if parity is not None and parity.accuracy_after is not None:
        metrics.append(("Accuracy", parity.source, round(parity.accuracy_after, 4)))
    kept = {key: value for key, value in criterion.items() if key.startswith("kd_") and value is not None}
    return CardFacts(
        title=name,
        data={"updates": number_of_updates(state), "corpus": _corpus(state)},
        teacher=_teachers(settings_of(state, "task")),
        criterion=str(criterion.get("_name") or "") or None,
        settings=kept,
        metrics=metrics,
        code=filled(code, name, example, second=second),
    )


def _corpus(state: dict[str, Any]) -> str:
    """Return the names of what a student was trained on."""
    settings = settings_of(state, "task")
    return str(settings.get("corpus") or settings.get("corpora") or "?")


def _teachers(task: dict[str, Any]) -> str | None:
    """Return the names of a student's teachers, without their folders."""
    value = task.get("teacher") or task.get("teachers")
    if not value:
        return None
    parts = value if isinstance(value, list | tuple) else str(value).split(",")
    return ", ".join(Path(str(part)).name for part in parts)
