"""Packaging of cmlm-kd: the library, the fairseq plug-in and the ``cmlm-kd`` command."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = {}
exec((HERE / "cmlm_kd" / "version.py").read_text(encoding="utf-8"), VERSION)

setup(
    name="cmlm-kd",
    version=VERSION["__version__"],
    description="Distil what BERT knows into small, fast translation and classification models.",
    python_requires=">=3.11,<3.13",
    packages=find_packages(include=["cmlm_kd", "cmlm_kd.*", "fairseq_plugins", "fairseq_plugins.*"]),
    package_data={"cmlm_kd": ["py.typed"]},
    install_requires=[
        "torch>=2.6,<2.14",
        "transformers>=5.0,<6",
        "datasets>=4.0,<6",
        "pyarrow>=18",
        "numpy>=1.26,<3",
        "sacrebleu>=2.6,<3",
        "rouge-score==0.1.2",
        "sentencepiece>=0.2.1,<0.3",
        "protobuf",
        "safetensors>=0.5",
        "tqdm>=4.66",
        "matplotlib>=3.9",
        "babel==2.18.0",
        "num2words==0.5.14",
        "hanta>=1.1,<2",
        # What fairseq needs; ve-fairseq itself is installed with --no-deps (its torchaudio pulls CUDA).
        "hydra-core>=1.3.2,<1.4",
        "omegaconf>=2.3,<2.4",
        "bitarray",
        "cffi",
        "cython",
        "packaging",
        "regex",
        "scikit-learn",
    ],
    extras_require={
        "dev": ["pytest>=8", "pytest-xdist>=3.6", "setuptools>=77", "ruff==0.17.6", "mypy==2.4.1"],
        "tensorboard": ["tensorboardX"],
    },
    entry_points={"console_scripts": ["cmlm-kd=cmlm_kd.cli:entry_point"]},
)
