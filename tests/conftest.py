"""Fixtures of all tests."""

import os
from pathlib import Path

import pytest
from tiny_store import write_store

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_dir():
    """Real models and data: the folder named by CMLM_KD_SHARED, or ``shared`` beside the repository."""
    folder = Path(os.environ.get("CMLM_KD_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "models").is_dir():
        pytest.skip(f"no real models and data in {folder}; name their folder with CMLM_KD_SHARED")
    return folder


@pytest.fixture
def store_path(tmp_path):
    """A small store with known rows."""
    return write_store(tmp_path / "store")
