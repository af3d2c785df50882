"""The commands of the translation road."""

from __future__ import annotations

from programs import SHORT, Program, program

WIDTH = " ".join(
    f"--{side}-{flag}"
    for side in ("encoder", "decoder")
    for flag in ("layers 1", "embed-dim 16", "ffn-embed-dim 16", "attention-heads 2")
)
CMLM = (
    "fairseq-train data --task cmlm --criterion cmlm --arch bert_cmlm --bert bert --optimizer bert_adamw "
    f"--lr 0.01 --max-tokens 120 {SHORT}"
)
STUDENT = (
    "fairseq-train data --task translation_kd --soft-targets store --criterion soft_target_kd --kd-topk 3 "
    f"--arch transformer_iwslt_de_en {WIDTH} --optimizer adam --lr 0.01 --max-tokens 60 {SHORT}"
)
BESIDE = (
    "fairseq-train data --task translation_kd --online-teacher student/checkpoint_last.pt --kd-topk 3 --arch "
    f"transformer_iwslt_de_en {WIDTH} --optimizer adam --lr 0.01 --max-tokens 60 {SHORT}"
)
INSIDE = f"{BESIDE} --criterion hidden_state_kd --teacher-cache states"
STATES = (
    "states/manifest.json states/encoder-hidden-1.npy states/decoder-attention-1.npy states/ids.npy "
    "states/order.npy states/target-lengths.npy"
)
DUMP = "--topk 3 --shard-rows 5 --max-tokens 100"
PREPARE = (
    "prepare --teacher bert -s de -t en --trainpref text/train --validpref text/valid --testpref text/test"
)
DATA = (
    "data/prepare.json data/dict.de.txt data/dict.en.txt data/dict.en.teacher_ids.npy "
    "data/train.de-en.de.bin data/train.de-en.de.idx data/train.de-en.en.bin data/train.de-en.en.idx"
)
STORE = "store/manifest.json store/shard-00000-of-00006.arrow store/shard-00003-of-00006.arrow"
EXPORTED = (
    "exported/cmlm.json exported/cmlm_head.safetensors exported/config.json exported/dict.txt "
    "exported/model.safetensors exported/tokenizer.json exported/tokenizer_config.json"
)
GENERATE = (
    "fairseq-generate data -s de -t en --path student/checkpoint_last.pt --gen-subset test --beam 2 "
    "--task translation --max-len-a 0 --max-len-b 8 --cpu"
)

BASE: tuple[Program, ...] = (
    program("make data", "translation", f"{PREPARE} --destdir data"),
    program("make cmlm", "translation", f"{CMLM} --save-dir cmlm --max-update 3"),
    program(
        "make exported",
        "translation",
        "export cmlm/checkpoint_last.pt --to teacher --data data --output exported",
    ),
    program("make store", "translation", f"dump data --teacher exported --output store {DUMP}"),
    program(
        "make student",
        "translation",
        f"{STUDENT} --save-dir student --max-update 240 --validate-interval 10 --save-interval 10 "
        "--log-file student.log",
    ),
    program("make states", "translation", f"{INSIDE} --save-dir inside --max-update 1"),
)
"""What the base is made of, in this order."""

PROGRAMS: tuple[Program, ...] = (
    program(
        "prepare",
        "translation",
        f"{PREPARE} --destdir new",
        reads="text/train.de text/train.en text/valid.en bert/config.json bert/tokenizer.json "
        "bert/tokenizer_config.json",
        writes="new",
    ),
    program(
        "prepare --dictionaries",
        "translation",
        f"{PREPARE} --dictionaries data --destdir new",
        reads="data/prepare.json data/dict.de.txt data/dict.en.teacher_ids.npy data/teacher/tokenizer.json",
        checked="data/prepare.json data/dict.de.txt data/dict.en.teacher_ids.npy data/teacher/tokenizer.json",
        writes="new",
    ),
    program(
        "prepare --overwrite",
        "translation",
        f"{PREPARE} --destdir data --overwrite --drop-empty",
        reads="data/prepare.json",
        writes="data",
    ),
    program(
        "dump",
        "translation",
        f"dump data --teacher exported --output new {DUMP}",
        reads=f"{DATA} {EXPORTED}",
        checked=f"{DATA} {EXPORTED}",
        writes="new",
        goes_on="new",
    ),
    program(
        "dump of a checkpoint",
        "translation",
        f"dump data --teacher cmlm/checkpoint_last.pt --output new {DUMP}",
        reads="cmlm/checkpoint_last.pt",
        writes="new",
        goes_on="new",
    ),
    program(
        "dump of a translator",
        "translation",
        f"dump data --teacher student/checkpoint_last.pt exported --weights 1 2 --output new {DUMP}",
        reads="student/checkpoint_last.pt",
        writes="new",
        goes_on="new",
    ),
    program(
        "dump into a store",
        "translation",
        f"dump data --teacher exported --output store {DUMP}",
        reads=STORE,
        checked=STORE,
        writes="store",
        goes_on="store",
    ),
    program(
        "verify a store",
        "translation",
        "verify store --data data",
        reads=f"{STORE} {DATA} data/raw/train.en",
        checked=f"{STORE} {DATA} data/raw/train.en",
    ),
    program(
        "verify a data-bin",
        "translation",
        "verify data",
        reads=f"{DATA} data/valid.de-en.en.bin data/teacher/tokenizer.json data/teacher/config.json",
        checked=f"{DATA} data/valid.de-en.en.bin data/teacher/tokenizer.json data/teacher/config.json",
    ),
    program("verify a teacher", "translation", "verify exported", reads=EXPORTED, checked=EXPORTED),
    program(
        "export a teacher",
        "translation",
        "export cmlm/checkpoint_last.pt --to teacher --data data --output new",
        reads="cmlm/checkpoint_last.pt data/prepare.json data/dict.en.txt data/teacher/tokenizer.json",
        checked="data/prepare.json data/dict.en.txt data/teacher/tokenizer.json",
        writes="new",
    ),
    program(
        "train a C-MLM",
        "translation",
        f"{CMLM} --save-dir new --max-update 1",
        reads="data/prepare.json data/dict.en.txt data/train.de-en.en.idx bert/config.json "
        "bert/model.safetensors",
        checked="data/prepare.json data/dict.en.txt data/train.de-en.en.idx",
        writes="new",
    ),
    program(
        "train a student",
        "translation",
        f"{STUDENT} --save-dir new --max-update 1",
        reads=f"{DATA} {STORE}",
        checked=f"{DATA} {STORE}",
        writes="new",
    ),
    program(
        "train beside a teacher",
        "translation",
        f"{BESIDE} --criterion tie_kd --kd-iterations 2 --save-dir new --max-update 1",
        reads="student/checkpoint_last.pt",
        writes="new",
    ),
    program(
        "train with cached states",
        "translation",
        f"{INSIDE} --save-dir new --max-update 1",
        reads=STATES,
        checked=STATES,
        writes="new states",
    ),
    program("verify cached states", "translation", "verify states", reads=STATES, checked=STATES),
    program(
        "resume a student",
        "translation",
        f"{STUDENT} --save-dir student --max-update 241",
        reads="student/checkpoint_last.pt",
        writes="student",
    ),
    program(
        "generate",
        "translation",
        GENERATE,
        reads="data/dict.de.txt data/test.de-en.de.idx data/test.de-en.de.bin student/checkpoint_last.pt",
    ),
    program(
        "interactive",
        "translation",
        "fairseq-interactive data -s de -t en --path student/checkpoint_last.pt --beam 2 --task translation "
        "--max-len-a 0 --max-len-b 8 --cpu --bpe teacher_pieces --teacher-tokenizer data/teacher "
        "--input text/test.de",
        reads="text/test.de data/teacher/tokenizer.json",
    ),
    program(
        "translate",
        "translation",
        "translate --model student/checkpoint_last.pt --data data --input text/test.de --output new.txt "
        "--beam 2 --max-length 20 --shard-rows 3",
        reads="student/checkpoint_last.pt text/test.de data/dict.de.txt data/prepare.json",
        writes="new.txt new.txt.json new.txt.parts",
        goes_on="new.txt.parts",
    ),
    program(
        "average",
        "translation",
        "average --inputs student/checkpoint_last.pt student/checkpoint_best.pt --portable --output new.pt",
        reads="student/checkpoint_last.pt student/checkpoint_best.pt",
        writes="new.pt",
    ),
    program(
        "average --dir",
        "translation",
        "average --dir student --best 1 --output new.pt",
        reads="student/checkpoint_best.pt",
        writes="new.pt",
    ),
    program(
        "score",
        "translation",
        "score --hypothesis a=text/test.en b=text/test.de --reference text/test.en --baseline a "
        "--paired-bs-n 20 --clusters clusters.txt --output new.txt --format json",
        reads="text/test.en text/test.de clusters.txt",
        writes="new.txt",
    ),
    program(
        "score --from-generate",
        "translation",
        "score --from-generate --hypothesis a=generated.txt --reference text/test.en --metrics bleu chrf",
        reads="generated.txt text/test.en",
    ),
    program(
        "report",
        "translation",
        "report --student a=student/checkpoint_last.pt b=student/checkpoint_best.pt --generated "
        "a=generated.txt b=generated.txt --log a=student.log b=student.log --reference text/test.en "
        "--baseline a --paired-bs-n 20 --output new",
        reads="generated.txt generated.log student.log student/checkpoint_last.pt text/test.en",
        writes="new",
    ),
    program("choose", "translation", "choose --metric loss --minimize a=student.log", reads="student.log"),
    program(
        "numbers-corpus",
        "translation",
        "numbers-corpus new --seed 2 --pairs 9 --valid 3 --test 3 --monolingual 5",
        writes="new",
    ),
    program(
        "train-tokenizer",
        "translation",
        "train-tokenizer --input text/train.de text/train.en --vocab-size 30 --output new",
        reads="text/train.de text/train.en",
        writes="new",
    ),
    program(
        "run", "translation", "run recipe.yaml --output new", reads="recipe.yaml", writes="new", goes_on="new"
    ),
)
"""What is spoilt, killed and tried in other surroundings."""
