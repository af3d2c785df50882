"""Export of translation students: written aside, compared with the checkpoint, and only then in its place."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cmlm_kd.api.translator import ModelChoice, TokenText, Translator
from cmlm_kd.deployment.model_card import CardFacts, write_card
from cmlm_kd.deployment.onnx_files import OPSET, GraphSettings, check_opset, import_onnx
from cmlm_kd.deployment.parity import (
    Parity,
    Sentences,
    check_parity,
    compare_translators,
    parity_sentences,
)
from cmlm_kd.deployment.shortlist import Shortlist, learn_shortlist
from cmlm_kd.deployment.snippets import HUGGING_FACE_TRANSLATOR, ctranslate2_code, filled
from cmlm_kd.deployment.student import TranslationStudent, all_settings
from cmlm_kd.errors import UserError
from cmlm_kd.evaluation.report import signature_of_checkpoint
from cmlm_kd.fairseq_files.checkpoints import number_of_updates, settings_of
from cmlm_kd.models.exported import EXPORT_MANIFEST, PIECES, ExportRecord
from cmlm_kd.models.translators.kinds import FAIRSEQ, load_translator
from cmlm_kd.system.environment import installed_version
from cmlm_kd.system.files import check_new_directory, directory_written_aside
from cmlm_kd.system.ranges import AT_LEAST_ONE, SHARE, check_range
from cmlm_kd.tokenization.plain_files import write_plain_files
from cmlm_kd.tokenization.saving import write_tokenizer
from cmlm_kd.version import __version__

TARGETS = ("huggingface", "ctranslate2", "onnx")
"""What translation students can be exported to."""

_PACKAGES = {
    "huggingface": ("torch", "transformers", "tokenizers", "sentencepiece"),
    "ctranslate2": ("torch", "ctranslate2", "ve-fairseq"),
    "onnx": ("torch", "onnx", "onnxruntime"),
}


@dataclass(frozen=True)
class TranslatorExport:
    """What to export, and how to check it.

    Attributes:
        checkpoint: file that fairseq-train wrote, or 'cmlm-kd average'.
        target: one of :data:`TARGETS`.
        output: directory to write.
        data: its data-bin; None for the one that it was trained on.
        quantize: ``int8``, or None for float32.
        sentences: file of sentences to compare with; None for the data-bin's.
        references: their translations.
        beam: of the search in the comparison, at least 1.
        least_equal: share of equal translations, 0 to 1; None for what suits the weights.
        shortlist: of CTranslate2: frequent tokens, and translations of a token, at least 1; None for none.
        opset: of ONNX; None for the oldest that there is.

    Raises:
        UserError: a value is out of its range.
    """

    checkpoint: Path
    target: str
    output: Path
    data: Path | None = None
    quantize: str | None = None
    sentences: Path | None = None
    references: Path | None = None
    beam: int = 5
    least_equal: float | None = None
    shortlist: int | None = None
    opset: int | None = None

    def __post_init__(self) -> None:
        check_range("--beam", self.beam, AT_LEAST_ONE)
        if self.least_equal is not None:
            check_range("--least-equal", self.least_equal, SHARE)
        if self.target == "huggingface" and self.quantize is not None:
            raise UserError(
                f"--quantize {self.quantize} goes with --to ctranslate2 and --to onnx: a directory of "
                "transformers holds floating point; leave it out, or take another target"
            )
        if self.opset is not None:
            check_opset(self.opset, self.target)
        if self.shortlist is not None:
            check_range("--shortlist", self.shortlist, AT_LEAST_ONE)
            if self.target != "ctranslate2":
                raise UserError(
                    f"--shortlist goes with --to ctranslate2: {self.target} has no place for one; leave it "
                    "out, or take the other target"
                )

    @property
    def quantization(self) -> str:
        """Type of the exported weights."""
        return self.quantize or "float32"


def export_translator(export: TranslatorExport) -> list[str]:
    """Write the directory, and return what to print of it.

    Raises:
        UserError: the target cannot hold the student, there is nothing to compare it with, it translates
            otherwise than the checkpoint, or the directory is not empty. Nothing is left then.
    """
    check_new_directory(export.output)
    if export.target == "onnx":
        import_onnx()
    original = load_translator(f"{FAIRSEQ}={export.checkpoint}", ModelChoice((), data=export.data))
    source, target = (str(language) for language in original.languages)
    student = TranslationStudent.load(export.checkpoint, export.data, (source, target))
    sentences = parity_sentences(student.data, student.languages, export.sentences, export.references)
    shortlist = None if export.shortlist is None else learn_shortlist(student, export.shortlist)
    with directory_written_aside(export.output, manifest=EXPORT_MANIFEST) as partial:
        same_tokens = _write(export, student, original, partial, sentences)
        if shortlist is not None:
            shortlist.write(partial)
        record = _record(export, student, original)
        record.write(partial)  # the runtime's loader reads limits and languages there
        exported = load_translator(f"{_kind(export.target)}={partial}", ModelChoice(()))
        parity = compare_translators(
            original,
            exported,
            sentences,
            export.beam,
            max(1, min(student.usual_target_tokens, student.most_target_tokens - 4)),
            same_tokens,
        )
        exact = export.quantize is None and shortlist is None
        check_parity(parity, exact, export.least_equal, str(export.output))
        lines = [*parity.lines(), *_shortlist_lines(shortlist, student, sentences)]
        write_card(partial, record, _facts(export, student, sentences, parity), lines)
        _record(export, student, original, parity).write(partial)
    return [f"{export.output}: written, for {export.target} ({export.quantization})", *lines]


def _shortlist_lines(
    shortlist: Shortlist | None, student: TranslationStudent, sentences: Sentences
) -> list[str]:
    """Return what to print of a shortlist."""
    if shortlist is None:
        return []
    encoded = student.pieces.encode_batch(sentences.sources)
    among = sum(shortlist.among(pieces.symbols) for pieces in encoded) / len(encoded)
    return [
        f"  shortlist: {len(shortlist.always)} frequent tokens and at most {shortlist.size} translations of "
        f"each source token; {among:,.0f} of {shortlist.entries:,} for a sentence alone, on average"
    ]


def _kind(target: str) -> str:
    return {"huggingface": "encoder_decoder", "ctranslate2": "ctranslate2", "onnx": "onnx"}[target]


def _write(
    export: TranslatorExport,
    student: TranslationStudent,
    original: Translator,
    directory: Path,
    sentences: Sentences,
) -> Sequence[bool] | None:
    """Write the model and its tokenizer; returns of each sentence whether it is cut as before, if not all."""
    if export.target == "huggingface":
        from cmlm_kd.deployment.huggingface import write_huggingface

        return write_huggingface(student, directory, sentences.sources)
    if export.target == "ctranslate2":
        _write_ctranslate2(student, original, directory, export.quantization)
    else:
        from cmlm_kd.deployment.onnx_translator import write_onnx

        write_onnx(student, directory, GraphSettings(export.quantize, export.opset or OPSET))
    write_tokenizer(student.pieces.tokenizer, directory / PIECES)
    write_plain_files(student.pieces, directory)
    return None


def _write_ctranslate2(
    student: TranslationStudent, original: Translator, directory: Path, quantization: str
) -> TokenText:
    folder = directory / "converted"  # the converter makes its own directory
    words = original.to_ctranslate2(folder, quantization)
    for path in folder.iterdir():
        path.rename(directory / path.name)
    folder.rmdir()
    return words


def _record(
    export: TranslatorExport,
    student: TranslationStudent,
    original: Translator,
    parity: Parity | None = None,
) -> ExportRecord:
    found = {name: installed_version(name) for name in _PACKAGES[export.target]}
    return ExportRecord(
        format="cmlm-kd export",
        version=__version__,
        target=export.target,
        task="translation",
        architecture=student.architecture,
        quantization=export.quantization,
        most_source_tokens=int(original.most_source_tokens or 0),
        most_target_tokens=student.most_target_tokens,
        model_hash=original.hash,
        languages=student.languages,
        kd_signature=signature_of_checkpoint(student.state.get("cfg") or {}),
        opset=(export.opset or OPSET) if export.target == "onnx" else None,
        shortlist=export.shortlist,
        versions={name: number for name, number in found.items() if number is not None},
        parity={} if parity is None else asdict(parity),
    )


def _facts(
    export: TranslatorExport, student: TranslationStudent, sentences: Sentences, parity: Parity
) -> CardFacts:
    """Return what the model card says: nothing in it names a folder of this computer."""
    name = export.output.resolve().name
    code = HUGGING_FACE_TRANSLATOR
    if export.target == "ctranslate2":
        code = ctranslate2_code(export.shortlist is not None)
    if export.target == "onnx":
        from cmlm_kd.deployment.snippets import ONNX_TRANSLATOR as code
    metrics = []
    if parity.bleu_after is not None:
        metrics.append(("BLEU", sentences.name, parity.bleu_after))
    return CardFacts(
        title=name,
        data=_data_of(student),
        teacher=_teacher_of(student.data),
        criterion=str(settings_of(student.state, "criterion").get("_name") or "") or None,
        settings=_criterion_of(student),
        metrics=metrics,
        code=filled(code, name, sentences.sources[0], student.usual_target_tokens),
    )


def _data_of(student: TranslationStudent) -> dict[str, object]:
    from cmlm_kd.data.translation.manifest import load_manifest

    facts: dict[str, object] = {"updates": number_of_updates(student.state)}
    try:
        manifest = load_manifest(student.data)
    except UserError:
        return facts
    pairs = {True: 0, False: 0}  # whether a machine wrote one side
    for split, report in manifest.splits.items():
        if split.startswith("train"):
            pairs[split in manifest.synthetic] += report.pairs
    facts["sentence pairs"] = f"{pairs[False]:,}"
    if pairs[True]:
        facts["synthetic pairs"] = f"{pairs[True]:,}, of which a machine wrote one side"
    if speaker := _speaker_of(student):
        facts["soft targets of"] = speaker
    facts["corpus"] = f"`{manifest.corpora.get('train', 'unknown')[:12]}` (hash of the training split)"
    return facts


def _speaker_of(student: TranslationStudent) -> str | None:
    """Return what kind of teacher wrote the stores of a training; None without one that is still there."""
    from cmlm_kd.store.manifest import MANIFEST_NAME, Manifest

    kinds = []
    for store in str(settings_of(student.state, "task").get("soft_targets") or "").split(","):
        with contextlib.suppress(UserError):
            kinds.append(Manifest.read(Path(store.strip()) / MANIFEST_NAME).header.teacher_kind)
    return "; ".join(dict.fromkeys(kinds)) or None


def _teacher_of(data: Path) -> str | None:
    from cmlm_kd.data.translation.manifest import load_manifest

    try:
        return Path(load_manifest(data).teacher).name
    except UserError:
        return None


def _criterion_of(student: TranslationStudent) -> dict[str, object]:
    """Return the settings of the criterion that say how it learnt."""
    settings = settings_of(student.state, "criterion")
    kept = {name: value for name, value in settings.items() if name.startswith("kd_")}
    kept["label_smoothing"] = settings.get(
        "label_smoothing", all_settings(student.state).get("label_smoothing")
    )
    return {name: value for name, value in kept.items() if value is not None}
