"""The commands of the other roads: classification, pre-training, and those that read no file."""

from __future__ import annotations

from programs import SHORT, Program, program

SST2 = (
    "fairseq-train glue/SST-2 --task classification_kd --corpus SST-2 --optimizer bert_adamw --lr 0.003 "
    f"--batch-size 8 {SHORT}"
)
PKD = (
    f"{SST2} --arch bert_classifier --bert encoder --criterion pkd --layers 2 --teacher teacher "
    "--teacher-cache cache"
)
BILSTM = (
    f"{SST2} --arch bilstm_classifier --hidden-size 4 --fc-size 4 --word-vectors vectors.txt "
    "--criterion bilstm_kd --teacher teacher --teacher-cache cache"
)
FASTBERT = f"{SST2} --arch fastbert --branch-size 4 --bert encoder"
MULTITASK = (
    "fairseq-train glue --task multitask_kd --corpora SST-2,RTE --optimizer bert_adamw --lr 0.003 "
    f"--batch-size 8 {SHORT} --arch multitask_bert --bert encoder --criterion mtdnn_kd "
    "--teacher SST-2=teacher --teacher-cache caches --san-heads RTE"
)
MASKED = (
    "fairseq-train text --task masked_lm_kd --optimizer bert_adamw --lr 0.01 --max-tokens 80 "
    f"--tokenized pieces {SHORT} --criterion bert_mlm --arch bert_masked_lm --layers 1 --hidden-size 8 "
    "--heads 2 --ffn-size 8 --positions 32 --bert-tokenizer teacher"
)
HF = "config.json model.safetensors tokenizer.json tokenizer_config.json"


def _in(folder: str, names: str = HF) -> str:
    return " ".join(f"{folder}/{name}" for name in names.split())


BASE: tuple[Program, ...] = (
    program("make pkd", "classification", f"{PKD} --save-dir pkd --max-update 3 --log-file pkd.log"),
    program("make bilstm", "classification", f"{BILSTM} --save-dir bilstm --max-update 3"),
    program(
        "make tuned",
        "classification",
        f"{FASTBERT} --criterion sentence_classification --save-dir tuned --max-update 3",
    ),
    program(
        "make fastbert",
        "classification",
        f"{FASTBERT} --criterion fastbert_kd --finetune-from-model tuned/checkpoint_last.pt "
        "--save-dir fastbert --max-update 3",
    ),
    program("make multitask", "classification", f"{MULTITASK} --save-dir multitask --max-update 3"),
    program(
        "make exported pkd",
        "classification",
        "export pkd/checkpoint_last.pt --checksums --output exported/bert",
    ),
    program(
        "make exported bilstm",
        "classification",
        "export bilstm/checkpoint_last.pt --to bilstm --output exported/bilstm",
    ),
    program(
        "make exported fastbert",
        "classification",
        "export fastbert/checkpoint_last.pt --output exported/fastbert",
    ),
    program(
        "make results",
        "classification",
        "evaluate glue/SST-2 --corpus SST-2 --no-speed --format json --model bert@1=exported/bert "
        "bert@2=exported/bert early@1=exported/fastbert early@2=tuned/checkpoint_last.pt "
        "--predictions predictions --output results.json",
    ),
    program("make masked", "pretraining", f"{MASKED} --save-dir bert --max-update 3"),
)
"""What the base is made of, in this order."""

PROGRAMS: tuple[Program, ...] = (
    program(
        "train with a cache",
        "classification",
        f"{PKD} --save-dir new --max-update 1",
        reads=f"cache/manifest.json cache/logits-0.npy cache/hidden-2.npy glue/SST-2/train.tsv "
        f"glue/SST-2/dev.tsv {_in('encoder')}",
        checked="cache/manifest.json cache/logits-0.npy cache/hidden-2.npy",
        writes="new cache",
    ),
    program(
        "train a BiLSTM",
        "classification",
        f"{BILSTM} --save-dir new --max-update 1",
        reads="vectors.txt glue/SST-2/train.tsv teacher/config.json",
        writes="new cache",
    ),
    program(
        "train on several tasks",
        "classification",
        f"{MULTITASK} --save-dir new --max-update 1",
        reads="glue/RTE/train.tsv caches/SST-2/manifest.json",
        checked="caches/SST-2/manifest.json",
        writes="new caches",
    ),
    program(
        "export",
        "classification",
        "export pkd/checkpoint_last.pt --output new --checksums",
        reads="pkd/checkpoint_last.pt",
        writes="new",
    ),
    program(
        "export a BiLSTM",
        "classification",
        "export bilstm/checkpoint_last.pt --to bilstm --output new",
        reads="bilstm/checkpoint_last.pt",
        writes="new",
    ),
    program(
        "export a FastBERT",
        "classification",
        "export fastbert/checkpoint_last.pt --output new",
        reads="fastbert/checkpoint_last.pt",
        writes="new",
    ),
    program(
        "export one of several tasks",
        "classification",
        "export multitask/checkpoint_last.pt --task SST-2 --output new",
        reads="multitask/checkpoint_last.pt",
        writes="new",
    ),
    program(
        "evaluate",
        "classification",
        "evaluate glue/SST-2 --corpus SST-2 --no-speed --format json --model a=exported/bert "
        "b=exported/bilstm --predictions new --output new.json",
        reads=f"glue/SST-2/dev.tsv {_in('exported/bert')} "
        f"{_in('exported/bilstm', 'config.json model.safetensors vocabulary.json')}",
        writes="new new.json",
    ),
    program(
        "evaluate text",
        "classification",
        "evaluate own --corpus text --no-speed --model exported/bert",
        reads="own/dev.tsv exported/bert/tokenizer_config.json",
    ),
    program(
        "classify",
        "classification",
        "classify texts.txt --model exported/fastbert --speed 0.5 --output new.txt",
        reads=f"texts.txt {_in('exported/fastbert')}",
        writes="new.txt",
    ),
    program(
        "classify by a checkpoint",
        "classification",
        "classify texts.txt --model fastbert/checkpoint_last.pt --speed 0.5",
        reads="fastbert/checkpoint_last.pt",
    ),
    program(
        "exits",
        "classification",
        "exits exported/fastbert glue/SST-2 --corpus SST-2 --plot new.png --output new.txt",
        reads="exported/fastbert/config.json glue/SST-2/dev.tsv",
        writes="new.png new.txt",
    ),
    program(
        "calibrate",
        "classification",
        "calibrate exported/fastbert glue/SST-2 --corpus SST-2 --target-speedup 1",
        reads="exported/fastbert/config.json glue/SST-2/train.tsv",
        writes="exported/fastbert",
    ),
    program(
        "compare-seeds",
        "classification",
        "compare-seeds results.json --predictions predictions --baseline bert",
        reads="results.json predictions/bert@1.tsv",
    ),
    program(
        "split",
        "classification",
        "split glue/RTE --corpus RTE --output new",
        reads="glue/RTE/train.tsv",
        writes="new",
    ),
    program(
        "split of a dataset",
        "classification",
        "split dataset --corpus huggingface --output new",
        reads="dataset/dataset_dict.json dataset/train/dataset_info.json dataset/train/state.json "
        "dataset/train/data-00000-of-00001.arrow",
        writes="new",
    ),
    program(
        "augment",
        "classification",
        "augment glue/SST-2 --corpus SST-2 --iterations 2 --output new.tsv",
        reads="glue/SST-2/train.tsv",
        writes="new.tsv",
    ),
    program(
        "augment by a masked language model",
        "classification",
        "augment glue/SST-2 --corpus SST-2 --method mlm --model mlm --vectors vectors.txt --iterations 2 "
        "--output new.tsv",
        reads="mlm/config.json mlm/model.safetensors vectors.txt",
        writes="new.tsv",
    ),
    program(
        "verify a cache",
        "classification",
        "verify cache",
        reads="cache/manifest.json cache/logits-0.npy cache/hidden-2.npy",
        checked="cache/manifest.json cache/logits-0.npy cache/hidden-2.npy",
    ),
    program(
        "verify an export",
        "classification",
        "verify exported/bert",
        reads=f"exported/bert/checksums.json {_in('exported/bert')}",
        checked=f"exported/bert/checksums.json {_in('exported/bert')}",
    ),
    program(
        "train a masked LM",
        "pretraining",
        f"{MASKED} --save-dir new --max-update 1",
        reads="text/train.txt pieces/train/manifest.json pieces/train/sizes.bin pieces/train/pieces.bin "
        "pieces/train/blocks.npy pieces/train/counts.npy teacher/tokenizer.json",
        checked="pieces/train/manifest.json pieces/train/sizes.bin pieces/train/pieces.bin "
        "pieces/train/blocks.npy",
        writes="new pieces",
    ),
    program(
        "verify tokenised text",
        "pretraining",
        "verify pieces/train",
        reads="pieces/train/manifest.json pieces/train/sizes.bin pieces/train/pieces.bin "
        "pieces/train/blocks.npy pieces/train/counts.npy",
        checked="pieces/train/manifest.json pieces/train/sizes.bin pieces/train/pieces.bin "
        "pieces/train/blocks.npy pieces/train/counts.npy",
    ),
    program(
        "evaluate-masked-lm",
        "pretraining",
        "evaluate-masked-lm text/valid.txt --max-length 32 --model bert/checkpoint_last.pt --teacher teacher "
        "--masking frequency --tokenized pieces --output new.txt",
        reads=f"text/valid.txt bert/checkpoint_last.pt pieces/train/counts.npy {_in('teacher')}",
        writes="new.txt",
    ),
    program(
        "export a masked LM",
        "pretraining",
        "export bert/checkpoint_last.pt --output new",
        reads="bert/checkpoint_last.pt",
        writes="new",
    ),
    program("flags", "pretraining", "flags soft_target_kd"),
    program("user-dir", "pretraining", "user-dir"),
)
"""What is spoilt, killed and tried in other surroundings."""
