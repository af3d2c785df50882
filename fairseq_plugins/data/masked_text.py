"""Plain text with hidden pieces, as a fairseq dataset."""

import numpy as np
import torch

from cmlm_kd.mlm_masking import MaskingScheme, hide_pieces
from cmlm_kd.tokenized_text import TokenizedText
from cmlm_kd.tokenizers import SpecialIds
from fairseq_plugins.data.sized import MaskedDataset


class MaskedTextDataset(MaskedDataset):
    """Lines whose pieces are hidden anew each epoch, or once and for all (validation).

    A draw depends on seed, epoch and row only: neither batches nor workers nor a resume change it.
    """

    def __init__(
        self, text: TokenizedText, special: SpecialIds, scheme: MaskingScheme, *, seed: int, fixed_masks: bool
    ) -> None:
        super().__init__(seed, fixed_masks)
        self.text, self.special, self.scheme = text, special, scheme
        self.sizes = text.sizes + 2  # (rows,), with [CLS] and [SEP]

    def __getitem__(self, index):
        row = int(index)
        pieces = self.text[row]
        return row, pieces, *hide_pieces(pieces, self.scheme, self.generator(row))

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

    def ordered_indices(self):
        """Order by length, ties at random, so that batches hold little padding."""
        order = np.random.permutation(len(self))
        return order[np.argsort(self.sizes[order], kind="mergesort")]
