"""Write down what a teacher, or several, believe about every target position of a corpus."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from cmlm_kd.api.next_tokens import TeacherOptions, TranslationData
from cmlm_kd.data.translation.integrity import check_corpus, check_databin
from cmlm_kd.data.translation.manifest import is_databin, load_manifest
from cmlm_kd.data.translation.pairs import PairFormat
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.databin import Databin, corpus_hash, dictionary_hash, read_symbols
from cmlm_kd.models.cmlm_loading import load_teacher, teacher_hash
from cmlm_kd.store import Manifest, ShardPlan, ShardRows, StoreHeader, StoreWriter
from cmlm_kd.store.corpus import infer_languages, open_pair
from cmlm_kd.store.manifest import C_MLM, TEACHER_KIND, SettingValue
from cmlm_kd.system.environment import describe_environment
from cmlm_kd.system.ray_engine import RayEngine
from cmlm_kd.teachers.cover_masks import Dumper
from cmlm_kd.teachers.folds import FoldsDumper, in_order_of_folds
from cmlm_kd.teachers.kinds import check_settings, kind_of, load_teachers
from cmlm_kd.teachers.mean import MeanOfTeachers, check_weights
from cmlm_kd.teachers.shards import DumpOptions, ShardDumper, progress_bar
from cmlm_kd.teachers.teacher_forcing import TeacherForcingDumper


@dataclass(frozen=True)
class TeacherChoice:
    """Who teaches.

    Attributes:
        teachers: paths; :func:`cmlm_kd.teachers.kinds.kind_of` has what they may be.
        weights: of each, above 0; None: the same for all.
        folds: each row is dumped by the one that was kept from its fold.
        loading: languages and prompt of models that want them; all else is the dump's.
    """

    teachers: tuple[str, ...]
    weights: tuple[float, ...] | None = None
    folds: bool = False
    loading: TeacherOptions = field(default_factory=TeacherOptions)


@dataclass(frozen=True)
class Corpus:
    """The split of a data-bin that is to be dumped."""

    data: TranslationData
    split: str
    source: Databin
    target: Databin


@dataclass(frozen=True)
class _Speaker:
    """What the store says of its teacher, and the dumper, which is made when there is work for it."""

    hash: str
    vocabulary: int
    settings: Mapping[str, SettingValue]
    dumper: Callable[[], ShardDumper]


def dump(
    data: Path,
    split: str,
    choice: TeacherChoice,
    output: Path,
    options: DumpOptions,
    engine: RayEngine | None = None,
) -> Manifest:
    """Write (or go on writing) the store of one split and return its manifest.

    Args:
        data: the data-bin. A C-MLM needs that which ``cmlm-kd prepare`` wrote.
        split: such as ``train``.
        choice: who teaches.
        output: the store's directory, new, empty or an unfinished store of the same dump.
        options: how to dump; with a share of the shards the manifest is that of an unfinished store, for
            :func:`cmlm_kd.store.merge_parts`.
        engine: whose workers ask the teacher; None: this process.

    Raises:
        UserError: for data, a teacher or an output directory that do not fit each other, or a full disk; what
            is complete stays and the same command goes on from there.
    """
    check_weights(choice.weights, choice.teachers)
    corpus = open_corpus(data, split)
    speaker = _speaker(choice, corpus, options)
    header = _header(corpus, speaker, options)
    if engine is not None:
        header = replace(header, environment={**header.environment, "threads": engine.threads})
    with StoreWriter.create_or_resume(output, header) as writer:
        share = options.shard
        plans = [plan for plan in writer.pending_shards() if share is None or share.holds(plan.index)]
        if plans and engine is not None:
            work = DumpWork(data, split, choice, replace(options, device=engine.device))
            with progress_bar(corpus.target, plans) as progress:
                _dump_elsewhere(engine, work, writer, plans, progress)
        elif plans:
            dumper = speaker.dumper()
            with progress_bar(corpus.target, plans) as progress:
                for plan in plans:
                    writer.write_shard(plan, dumper.shard(corpus.source, corpus.target, plan, progress))
        return writer.finish() if share is None else writer.manifest


@dataclass(frozen=True)
class DumpWork:
    """What a worker of a cluster does: it asks the teacher about the shards that it is given."""

    data: Path
    split: str
    choice: TeacherChoice
    options: DumpOptions

    def start(self) -> Callable[[int, bytes], bytes]:
        """Load the teacher; see :class:`cmlm_kd.system.ray_engine.ShardWork`."""
        corpus = open_corpus(self.data, self.split)
        speaker = _speaker(self.choice, corpus, self.options)
        plans, dumper = _header(corpus, speaker, self.options).plan(), speaker.dumper()
        environment = json.dumps(describe_environment(self.options.device)).encode()

        def shard(index: int, payload: bytes) -> bytes:
            del payload  # a shard's number says all
            stream = io.BytesIO()
            rows = dumper.shard(corpus.source, corpus.target, plans[index])
            np.savez(stream, *astuple(rows), environment=np.frombuffer(environment, np.uint8))
            return stream.getvalue()

        return shard


def _dump_elsewhere(
    engine: RayEngine, work: DumpWork, writer: StoreWriter, plans: list[ShardPlan], progress: tqdm[None]
) -> None:
    """Write what the workers of a cluster return, in the order in which they do."""
    sizes = open_corpus(work.data, work.split).target.sizes
    by_index = {plan.index: plan for plan in plans}
    environments = list(writer.manifest.environments) if writer.manifest.shards else []
    for index, result in engine.results(work, [(plan.index, b"") for plan in plans]):
        plan = by_index[index]
        with np.load(io.BytesIO(result), allow_pickle=False) as found:
            rows = ShardRows(*(found[f"arr_{place}"] for place in range(4)))
            environments.append(json.loads(found["environment"].tobytes()))
        writer.note_environments(sorted(environments, key=json.dumps))
        writer.write_shard(plan, rows)
        progress.update(int(sizes[plan.first_row : plan.first_row + plan.rows].sum()))


def open_corpus(data: Path, split: str) -> Corpus:
    """Open a split of a data-bin, prepared by us or by fairseq.

    Raises:
        UserError: it is not there, is damaged, or its sides have different numbers of sentences.
    """
    manifest = None
    if is_databin(data) or not any(data.glob(f"{split}.*.idx")):
        manifest = load_manifest(data)
        check_databin(data, manifest, splits=[split])
        languages = manifest.languages
        source, target = (Databin.open(manifest.file(data, split, name)) for name in languages)
    else:
        languages = infer_languages(data, split)
        source, target = open_pair(data, split, *languages)
    if len(source) != len(target):
        raise UserError(
            f"{data}, {split}: {len(source)} sources but {len(target)} targets; "
            "write the data again with 'cmlm-kd prepare'"
        )
    if manifest is not None:
        check_corpus(data, manifest, split, corpus_hash(source, target))
    entries = len(read_symbols(data / f"dict.{languages[1]}.txt"))
    return Corpus(TranslationData(data, *languages, vocabulary=entries + 4), split, source, target)


def _speaker(choice: TeacherChoice, corpus: Corpus, options: DumpOptions) -> _Speaker:
    loading = replace(
        choice.loading,
        device=options.device,
        bf16_autocast=options.bf16_autocast,
        stride=options.stride,
    )
    if not choice.folds:
        return _speaker_of(choice.teachers, choice.weights, loading, corpus, options)
    if choice.weights is not None:
        raise UserError("--weights are of a mean; with --folds each row has one teacher: leave them out")
    ordered = in_order_of_folds(choice.teachers)
    speakers = [_speaker_of([teacher], None, loading, corpus, options) for teacher in ordered]
    kinds = dict.fromkeys(str(speaker.settings.get(TEACHER_KIND, C_MLM)) for speaker in speakers)
    settings: dict[str, SettingValue] = {TEACHER_KIND: f"{' and '.join(kinds)}, {len(ordered)} folds"}
    for speaker in speakers:
        settings |= {name: value for name, value in speaker.settings.items() if name != TEACHER_KIND}
    return _Speaker(
        hashlib.sha256(" ".join(speaker.hash for speaker in speakers).encode()).hexdigest(),
        corpus.data.vocabulary,
        settings,
        lambda: FoldsDumper([speaker.dumper() for speaker in speakers], options),
    )


def _speaker_of(
    teachers: Sequence[str],
    weights: Sequence[float] | None,
    loading: TeacherOptions,
    corpus: Corpus,
    options: DumpOptions,
) -> _Speaker:
    """Load whoever teaches: a C-MLM alone goes its own way, in as many passes as its masks have."""
    common: dict[str, SettingValue] = {
        "max_tokens": options.max_tokens,
        "precision": "bfloat16 autocast" if options.bf16_autocast else "float32",
        "split": corpus.split,
    }
    data = corpus.data
    if len(teachers) == 1:
        kind, path = kind_of(teachers[0])
        if kind.name == "cmlm":
            check_settings([kind.cls], teachers, loading)
            model = load_teacher(path, data.directory)
            return _Speaker(
                teacher_hash(model),
                model.projection.out_features,
                {"stride": options.stride, **common},
                lambda: Dumper(model, PairFormat.of_databin(data.directory), options),
            )
    teacher = load_teachers(teachers, data, loading, weights)
    settings = {TEACHER_KIND: teacher.kind, **common}
    if isinstance(teacher, MeanOfTeachers):
        settings["weights"] = " ".join(f"{weight:g}" for weight in teacher.weights)
    return _Speaker(teacher.hash, data.vocabulary, settings, lambda: TeacherForcingDumper(teacher, options))


def _header(corpus: Corpus, speaker: _Speaker, options: DumpOptions) -> StoreHeader:
    """Return what the store will say about itself: all that its bytes depend on."""
    if options.topk > speaker.vocabulary:
        raise UserError(
            f"--topk is {options.topk}, the target dictionary has {speaker.vocabulary} entries; "
            "give at most that many"
        )
    return StoreHeader(
        rows=len(corpus.target),
        k=options.topk,
        tail_temperatures=options.tail_temperatures,
        vocabulary_size=speaker.vocabulary,
        dictionary_hash=dictionary_hash(corpus.data.dictionary(corpus.data.target_language)),
        corpus_hash=corpus_hash(corpus.source, corpus.target),
        teacher_hash=speaker.hash,
        shard_rows=options.shard_rows,
        settings=speaker.settings,
        environment=describe_environment(options.device),
    )
