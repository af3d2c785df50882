"""Plain text with hidden pieces, as a fairseq dataset."""

import numpy as np
import torch
from fairseq.data import FairseqDataset

from cmlm_kd.masking import sentence_generator
from cmlm_kd.mlm_masking import MaskingScheme, hide_pieces
from cmlm_kd.tokenized_text import TokenizedText
from cmlm_kd.tokenizers import SpecialIds


class MaskedTextDataset(FairseqDataset):
    """Lines whose pieces are hidden anew each epoch, or once and for all (validation).

    A draw depends on seed, epoch and row only: neither batches nor workers nor a resume change it.
    """

    def __init__(
        self, text: TokenizedText, special: SpecialIds, scheme: MaskingScheme, *, seed: int, fixed_masks: bool
    ) -> None:
        self.text, self.special, self.scheme = text, special, scheme
        self.seed, self.fixed_masks = seed, fixed_masks
        self.epoch = 1
        self.sizes = text.sizes + 2  # (rows,), with [CLS] and [SEP]

    def __getitem__(self, index):
        row = int(index)
        generator = sentence_generator(self.seed, 0 if self.fixed_masks else self.epoch, row)
        pieces = self.text[row]
        return row, pieces, *hide_pieces(pieces, self.scheme, generator)

    def __len__(self):
        return len(self.text)

    def collater(self, samples):
        """Frame and pad the lines of a batch; ``{}`` for an empty one."""
        if not samples:
            return {}
        longest = max(len(pieces) for _, pieces, _, _ in samples) + 2
        inputs = np.full((len(samples), longest), self.special.pad, np.int64)  # (B, S)
        labels = np.zeros((len(samples), longest), np.int64)  # (B, S)
        hidden = np.zeros((len(samples), longest), np.bool_)  # (B, S)
        attended = np.zeros((len(samples), longest), np.int64)  # (B, S)
        for i, (_, pieces, shown, chosen) in enumerate(samples):
            end = len(pieces) + 1
            inputs[i, 0], inputs[i, 1:end], inputs[i, end] = self.special.cls, shown, self.special.sep
            labels[i, 1:end], hidden[i, 1:end] = pieces, chosen
            attended[i, : end + 1] = 1
        masked = np.flatnonzero(hidden)  # (M,)
        return {
            "id": torch.tensor([row for row, *_ in samples]),
            "nsentences": len(samples),
            "ntokens": int(attended.sum()),
            "net_input": {
                "input_ids": torch.from_numpy(inputs),
                "attention_mask": torch.from_numpy(attended),
                "masked_index": torch.from_numpy(masked),
            },
            "target": torch.from_numpy(labels.reshape(-1)[masked]),  # (M,)
        }

    def num_tokens(self, index):
        """Return the positions of a line."""
        return int(self.sizes[index])

    def num_tokens_vec(self, indices):
        """Return the positions of several lines."""
        return self.sizes[indices]

    def size(self, index):
        """Return what ``--max-positions`` compares."""
        return int(self.sizes[index])

    def ordered_indices(self):
        """Order by length, ties at random, so that batches hold little padding."""
        order = np.random.permutation(len(self))
        return order[np.argsort(self.sizes[order], kind="mergesort")]

    def set_epoch(self, epoch):
        """Hide other pieces from now on."""
        self.epoch = epoch

    @property
    def supports_prefetch(self):
        """Everything is in memory."""
        return False
