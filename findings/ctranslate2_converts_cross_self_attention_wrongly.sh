#!/usr/bin/env bash
# Package:  ctranslate2 4.8.5 with ve-fairseq 0.12.3 (fairseq 0.12) and torch 2.13.0
#
# Expected: CTranslate2's converter of fairseq checkpoints either converts a model to one that translates as fairseq does,
#           or refuses it, as it refuses other options that it does not know (it looks at several, and names them).
# Happens:  a Transformer that was trained with --cross-self-attention (decoder layers attend to the source and to what
#           has been written in one attention, whose keys are both together) is converted without a word. The weights
#           have the names and shapes of an ordinary decoder's self-attention, and there is no other attention; what
#           comes out reads none of the source in the way the model was trained to, and other sentences come out.
# Meaning:  look at a checkpoint's cross_self_attention before you convert it, and compare translations of both engines
#           after a conversion, on real sentences: exit status and shapes say nothing.
#
# Output seen (sentences that both engines translate alike, of 20; greedy search):
#   ordinary Transformer     20 of 20
#   --cross-self-attention   0 of 20
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --quiet --disable-pip-version-check torch==2.13.0 ctranslate2==4.8.5 \
    hydra-core==1.3.8 omegaconf==2.3.1 sacrebleu==2.6.0 bitarray cffi cython regex tqdm scikit-learn packaging 'setuptools<81' numpy
venv/bin/pip install --quiet --quiet --disable-pip-version-check --no-deps ve-fairseq==0.12.3

cat > compare.py <<'PYTHON'
import random
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import ctranslate2
import torch
from fairseq import checkpoint_utils, options, tasks, utils
from fairseq_cli import preprocess, train

torch.serialization.add_safe_globals([Namespace])
random.seed(0)
words = [f"w{number}" for number in range(30)]
for name, count in (("train", 300), ("valid", 20)):
    rows = [random.choices(words, k=random.randint(3, 8)) for _ in range(count)]
    Path(f"{name}.a").write_text("".join(" ".join(row) + "\n" for row in rows))
    Path(f"{name}.b").write_text("".join(" ".join(reversed(row)) + "\n" for row in rows))
flags = "--source-lang a --target-lang b --trainpref train --validpref valid --destdir data --workers 1".split()
preprocess.main(options.get_preprocessing_parser().parse_args(flags))


def alike(name, *more):
    flags = (
        f"data --arch transformer --optimizer adam --lr 1e-3 --max-tokens 500 --max-update 150 --cpu --save-dir {name}"
        " --encoder-layers 1 --decoder-layers 1 --encoder-embed-dim 32 --decoder-embed-dim 32"
        " --encoder-ffn-embed-dim 64 --decoder-ffn-embed-dim 64 --encoder-attention-heads 2"
        " --decoder-attention-heads 2 --no-epoch-checkpoints --disable-validation --num-workers 0 --log-format none"
    ).split()
    settings = options.parse_args_and_arch(options.get_training_parser(), [*flags, *more])
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf

    utils.import_user_module(settings)
    train.main(convert_namespace_to_omegaconf(settings))
    checkpoint = f"{name}/checkpoint_last.pt"
    models, _, task = checkpoint_utils.load_model_ensemble_and_task([checkpoint], {"data": "data"})
    generator = task.build_generator(models, Namespace(beam=1, max_len_a=0, max_len_b=20))
    converter = ctranslate2.converters.FairseqConverter(checkpoint, "data", source_lang="a", target_lang="b")
    converter.convert(f"{name}/converted", force=True)
    translator = ctranslate2.Translator(f"{name}/converted", device="cpu", compute_type="float32")
    equal = 0
    for line in Path("valid.a").read_text().splitlines():
        tokens = task.source_dictionary.encode_line(line, add_if_not_exist=False).long()  # (S,)
        sample = {"net_input": {"src_tokens": tokens[None], "src_lengths": torch.tensor([len(tokens)])}}
        ids = task.inference_step(generator, models, sample)[0][0]["tokens"]
        ours = task.target_dictionary.string(ids).split()
        theirs = translator.translate_batch([line.split()], beam_size=1, max_decoding_length=20)[0].hypotheses[0]
        equal += ours == theirs
    return equal


plain, shared = alike("plain"), alike("shared", "--cross-self-attention")
print(f"ordinary Transformer     {plain} of 20")
print(f"--cross-self-attention   {shared} of 20")
assert plain >= 18 and shared <= 10
PYTHON
PYTHONWARNINGS=ignore venv/bin/python compare.py 2> log || { tail -20 log; exit 1; }
