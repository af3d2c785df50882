"""The papers behind each criterion, for model cards."""

from __future__ import annotations

_BERT_FOR_GENERATION = (
    "Chen et al. (2020), Distilling Knowledge Learned in BERT for Text Generation, "
    "https://aclanthology.org/2020.acl-main.705"
)

CITATIONS = {
    "soft_target_kd": _BERT_FOR_GENERATION,
    "cmlm": _BERT_FOR_GENERATION,
    "distilbert_kd": "Sanh et al. (2019), DistilBERT, a distilled version of BERT: smaller, faster, cheaper "
    "and lighter, https://arxiv.org/abs/1910.01108",
    "tinybert_kd": "Jiao et al. (2020), TinyBERT: Distilling BERT for Natural Language Understanding, "
    "https://aclanthology.org/2020.findings-emnlp.372",
    "fastbert_kd": "Liu et al. (2020), FastBERT: a Self-distilling BERT with Adaptive Inference Time, "
    "https://aclanthology.org/2020.acl-main.537",
    "bilstm_kd": "Tang et al. (2019), Distilling Task-Specific Knowledge from BERT into Simple Neural "
    "Networks, https://arxiv.org/abs/1903.12136",
    "pkd": "Sun et al. (2019), Patient Knowledge Distillation for BERT Model Compression, "
    "https://aclanthology.org/D19-1441",
    "mobilebert_kd": "Sun et al. (2020), MobileBERT: a Compact Task-Agnostic BERT for Resource-Limited "
    "Devices, https://aclanthology.org/2020.acl-main.195",
    "mtdnn_kd": "Liu et al. (2019), Improving Multi-Task Deep Neural Networks via Knowledge Distillation for "
    "Natural Language Understanding, https://arxiv.org/abs/1904.09482",
}
"""Name of a criterion -> its paper."""

FAIRSEQ = (
    "Ott et al. (2019), fairseq: A Fast, Extensible Toolkit for Sequence Modeling, "
    "https://aclanthology.org/N19-4009"
)
