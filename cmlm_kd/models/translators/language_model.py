"""The kind ``language_model`` of ``cmlm-kd translate``: a decoder without an encoder, and a prompt."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import ClassVar

import torch
from torch import Tensor

from cmlm_kd.api.translator import Decoding, Hypothesis, ModelChoice, Source, Translator, translators
from cmlm_kd.errors import UserError
from cmlm_kd.models.translators.generation import generate, sequence_scores
from cmlm_kd.models.translators.loading import (
    UNLIMITED,
    LanguageModel,
    end_tokens,
    last_logits,
    load_language_model,
)
from cmlm_kd.system.text import iterate_pairs

PROMPT = "{source_language}: {source}\n{target_language}: {target}"
"""The template of a prompt where the user gives none."""

MOST_EXAMPLES = 32

_NAMES = ("source_language", "target_language")
"""Places in a template for what languages are called."""


class Prompt:
    """What a language model reads before it translates.

    Args:
        template: of one pair, with ``{source}``, and ``{target}`` at its end (added where it is missing);
            ``{source_language}`` and ``{target_language}`` become their names, ``\\n`` a line feed.
        examples: pairs that are shown first, with an empty line behind each.
        languages: names of source and target language; None for one that was not given.

    Raises:
        UserError: the template has no place for the source, an unknown place, one for a language without a
            name, or says more behind the target.
    """

    def __init__(
        self,
        template: str,
        examples: Sequence[tuple[str, str]],
        languages: tuple[str | None, str | None],
    ) -> None:
        template = template.replace("\\n", "\n")
        if "{source}" not in template:
            raise UserError(
                f"--prompt {template!r} has no place for the source; write {{source}} where it belongs"
            )
        names = dict(zip(_NAMES, languages, strict=True))
        _check_places(template, names)
        if "{target}" not in template:
            template += "{target}"
        before, _, behind = template.partition("{target}")
        if behind.strip() or "{source}" not in before:
            raise UserError(
                f"--prompt {template!r}: {{target}} must be its end, for there the model goes on; leave "
                "out what stands behind"
            )
        self._before = before
        for place, name in names.items():
            self._before = self._before.replace(f"{{{place}}}", name or "")
        # A space before the target belongs to its first token.
        self._space = self._before[len(self._before.rstrip(" ")) :]
        self._before = self._before.rstrip(" ")
        self._shown = "".join(f"{self._fill(source)}{self._space}{target}\n\n" for source, target in examples)

    @property
    def ends_with_line(self) -> bool:
        """Whether the target begins a line of its own, so that no space belongs before it."""
        return self._before.endswith("\n")

    def _fill(self, source: str) -> str:
        return source.join(self._before.split("{source}"))

    def __call__(self, source: str) -> str:
        """Return the prompt of a sentence."""
        return self._shown + self._fill(source)


def _check_places(template: str, names: Mapping[str, str | None]) -> None:
    """Refuse what looks like a place and is none, which the model would read as it stands, and places of
    languages without a name."""
    known = ("source", "target", *names)
    for place in re.findall(r"\{(\w+)\}", template):
        if place not in known:
            raise UserError(
                f"--prompt {template!r} has a place {{{place}}} that is not known; allowed are "
                f"{', '.join(f'{{{name}}}' for name in known)}"
            )
        if names.get(place, "") is None:
            raise UserError(
                f"--prompt {template!r} names the {place.replace('_', ' ')}; say what it is with "
                f"--{place.replace('_', '-')}, or write it out"
            )


def read_examples(text: str | None) -> list[tuple[str, str]]:
    """Return the pairs that ``--examples PREFIX:SRC-TGT`` names; None names none.

    Raises:
        UserError: it is of another form, a file is missing, or there are too many pairs.
    """
    if text is None:
        return []
    prefix, _, suffixes = text.rpartition(":")
    sides = suffixes.split("-")
    if not prefix or len(sides) != 2:
        raise UserError(
            f"--examples is {text!r}; it must be PREFIX:SRC-TGT, such as shots:de-en for shots.de and "
            "shots.en"
        )
    examples = list(islice(iterate_pairs(prefix, sides), MOST_EXAMPLES + 1))
    if len(examples) > MOST_EXAMPLES:
        raise UserError(
            f"--examples {text} has more than {MOST_EXAMPLES} pairs, all of which would stand in every "
            "prompt; give fewer"
        )
    return examples


@translators.register("language_model")
class LanguageModelTranslator(Translator):
    """A decoder-only language model; a line feed ends what it says.

    Args:
        loaded: the model with its tokenizer.
        prompt: what it reads.
        device: where it runs.
        languages: source and target, if they were named.
    """

    settings: ClassVar[frozenset[str]] = frozenset(
        {"source_language", "target_language", "prompt", "examples"}
    )

    def __init__(
        self,
        loaded: LanguageModel,
        prompt: Prompt,
        device: str = "cpu",
        languages: tuple[str | None, str | None] = (None, None),
    ) -> None:
        self.loaded = loaded
        self.model = loaded.model.to(device)
        self.tokenizer = loaded.tokenizer
        self.prompt = prompt
        self.device = torch.device(device)
        self._languages = languages

    @classmethod
    def load(cls, choice: ModelChoice) -> LanguageModelTranslator:
        """Load a directory, a ``.gguf`` file or a model of the hub."""
        languages = (choice.source_language, choice.target_language)
        if choice.prompt is None and None in languages:
            raise UserError(
                f"--model {choice.path} is a language model, which must be told what to translate; name both "
                "languages (--source-language German --target-language English) or give a --prompt"
            )
        examples = read_examples(choice.examples)
        prompt = Prompt(choice.prompt or PROMPT, examples, languages)
        return cls(load_language_model(choice.path), prompt, choice.device, languages)

    @property
    def description(self) -> str:
        """Its family."""
        return f"language model {self.model.config.model_type}"

    @property
    def hash(self) -> str:
        """Of configuration, weights, tokenizer and prompt."""
        return hashlib.sha256(f"{self.loaded.hash} {self.prompt('')}".encode()).hexdigest()

    @property
    def languages(self) -> tuple[str | None, str | None]:
        """As they were named."""
        return self._languages

    @property
    def most_source_tokens(self) -> int | None:
        """Its positions, less some for the translation."""
        positions = getattr(self.model.config, "max_position_embeddings", None)
        return None if positions is None else max(1, int(positions) // 2)

    def encode(self, texts: Sequence[str]) -> list[Source]:
        """Return the ids of the prompt of each text."""
        if not texts:
            return []
        found = self.tokenizer([self.prompt(text) for text in texts], verbose=False)["input_ids"]
        return [Source(text, self._open(ids)) for text, ids in zip(texts, found, strict=True)]

    def _open(self, ids: list[int]) -> list[int]:
        """Return a prompt without an end of text, which some tokenizers add."""
        return ids[:-1] if len(ids) > 1 and ids[-1] == self.tokenizer.eos_token_id else ids

    @torch.inference_mode()
    def translate(self, sources: Sequence[Source], decoding: Decoding) -> list[list[Hypothesis]]:
        """Search, or draw, with transformers."""
        longest = max(len(source.tokens) for source in sources)
        pad = self.tokenizer.pad_token_id
        pad = self._ends[0] if pad is None else int(pad)
        ids = torch.full((len(sources), longest), pad)
        mask = torch.zeros(len(sources), longest, dtype=torch.long)
        for row, source in enumerate(sources):  # padded on the left, where generate wants it
            ids[row, longest - len(source.tokens) :] = torch.tensor(source.tokens)
            mask[row, longest - len(source.tokens) :] = 1
        ids, mask = ids.to(self.device), mask.to(self.device)
        most = min(decoding.most_tokens(longest), self._positions - longest - 1)
        found = generate(
            self.model,
            {"input_ids": ids, "attention_mask": mask},
            decoding,
            begin=longest,
            most_tokens=max(1, most),
            ends=self._ends,
            pad=pad,
        )

        def logits(rows: range, entries: Tensor) -> Tensor:
            of = torch.tensor([row // decoding.n_best for row in rows], device=self.device)
            seen = torch.cat([mask[of], torch.ones_like(entries)], 1)
            kept = last_logits(
                self.model,
                entries.size(1) + 1,
                input_ids=torch.cat([ids[of], entries], 1),
                attention_mask=seen,
                position_ids=(seen.cumsum(-1) - 1).clamp(min=0),
            )
            return kept[:, :-1]  # (N, T, V)

        scores = sequence_scores(
            found,
            logits,
            decoding,
            pad=pad,
            vocabulary=int(self.model.get_output_embeddings().weight.size(0)),
            device=self.device,
        )
        # What ends it may have said something before its line feed.
        said = [[*entry.entries, *([] if entry.end is None else [entry.end])] for entry in found]
        texts = self.tokenizer.batch_decode(said, skip_special_tokens=True)
        hypotheses = [
            Hypothesis(text.split("\n")[0].strip(), score, entry.finished)
            for text, score, entry in zip(texts, scores, found, strict=True)
        ]
        n = decoding.n_best
        rows = [hypotheses[start : start + n] for start in range(0, len(hypotheses), n)]
        return [sorted(row, key=lambda entry: -entry.score) for row in rows]

    @property
    def _positions(self) -> int:
        return int(getattr(self.model.config, "max_position_embeddings", None) or UNLIMITED)

    @cached_property
    def _ends(self) -> list[int]:
        """Entries that end a translation: the model's own, and every one with a line feed in it."""
        ends = end_tokens(self.model, self.tokenizer)
        size = len(self.tokenizer)
        spelled = self.tokenizer.batch_decode([[entry] for entry in range(size)])
        return [*ends, *(entry for entry in range(size) if "\n" in spelled[entry] and entry not in ends)]
