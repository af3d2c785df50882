"""Multi30k, fetched once and checked against the checksums that the results were made with."""

import http.client
import queue
import shutil
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cmlm_kd.errors import UserError, first_line
from cmlm_kd.system.files import file_sha256, written_aside

MULTI30K_URL = "https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw"
MULTI30K_SHA256 = {
    "train.de.gz": "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6",
    "train.en.gz": "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f",
    "val.de.gz": "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a",
    "val.en.gz": "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28",
    "test_2016_flickr.de.gz": "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8",
    "test_2016_flickr.en.gz": "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9",
}
"""Raw German-English captions of Multi30k's first task (non-commercial research use)."""

_TIMEOUT_SECONDS = 30
_LONGEST_SECONDS = 600
"""Of a download; a server that sends a byte now and then would never be silent for as long as the above."""

_CHUNK_BYTES = 1 << 16


_NETWORK_ERRORS = (
    urllib.error.URLError,
    http.client.HTTPException,  # of a server that does not speak HTTP
    TimeoutError,
    ConnectionError,
    ValueError,
)


def fetch(destination: Path, checksums: Mapping[str, str], base_url: str) -> list[Path]:
    """Download files that are not there yet; return all of them.

    A download that broke off goes on where it stopped. A file appears only when its checksum is right.

    Args:
        destination: directory, made when missing.
        checksums: file name -> SHA-256, hexadecimal.
        base_url: where the files lie side by side.

    Raises:
        UserError: the server cannot be reached, lacks a file, or has one with another checksum.
    """
    for name, sha256 in checksums.items():
        if not _is_valid(destination / name, sha256):
            _download(f"{base_url.rstrip('/')}/{name}", destination / name, sha256)
    return [destination / name for name in checksums]


def copy_checked(source: Path, destination: Path, checksums: Mapping[str, str]) -> list[Path]:
    """Copy files from a local directory, each only if its checksum is right; return the copies.

    Raises:
        UserError: a file is missing or has another checksum.
    """
    for name, sha256 in checksums.items():
        if not (source / name).is_file():
            raise UserError(f"{source} has no {name}; it must hold {', '.join(checksums)}")
        found = file_sha256(source / name)
        if found != sha256:
            raise UserError(f"{source / name} has checksum {found}, expected is {sha256}; fetch it again")
    for name, sha256 in checksums.items():
        if not _is_valid(destination / name, sha256):
            with written_aside(destination / name) as partial:
                shutil.copyfile(source / name, partial)
    return [destination / name for name in checksums]


def _is_valid(path: Path, sha256: str) -> bool:
    return path.is_file() and file_sha256(path) == sha256


def _download(url: str, path: Path, sha256: str) -> None:
    with written_aside(path, goes_on=True) as partial:
        try:
            _append_rest(url, partial)
        except _NETWORK_ERRORS as error:
            raise UserError(
                f"{url} cannot be fetched: {first_line(error)}; run again to go on, or copy it from a folder "
                "(--from)"
            ) from error
        found = file_sha256(partial)
        if found != sha256:
            partial.unlink()
            raise UserError(f"{url} has checksum {found}, expected is {sha256}; the file was not kept")


def _append_rest(url: str, partial: Path) -> None:
    """Download what is missing at the end of ``partial``."""
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = _answer(request)
    except urllib.error.HTTPError as error:
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # nothing is missing; the checksum decides
        raise
    with response:
        goes_on = response.status == HTTPStatus.PARTIAL_CONTENT
        length = int(response.headers.get("Content-Length") or 0)
        received, until = 0, time.monotonic() + _LONGEST_SECONDS
        with (
            partial.open("ab" if goes_on else "wb") as file,
            tqdm(total=length or None, unit="B", unit_scale=True, desc=url.rsplit("/", 1)[-1]) as progress,
        ):
            while chunk := response.read1(_CHUNK_BYTES):
                received += file.write(chunk)
                progress.update(len(chunk))
                if time.monotonic() > until:
                    raise TimeoutError(f"{received} of {length} bytes came in {_LONGEST_SECONDS} seconds")
    if received < length:
        raise ConnectionError(f"the connection broke after {received} of {length} bytes")


def _answer(request: urllib.request.Request) -> Any:
    """Return the response to a request, of a server that gives its headers within the time of a download.

    Nobody else limits that: a line of a header now and then is no silence.
    """
    found: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found.put(urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS))
        except Exception as error:
            found.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = found.get(timeout=_LONGEST_SECONDS)
    except queue.Empty:
        raise TimeoutError(f"no answer came in {_LONGEST_SECONDS} seconds") from None
    if isinstance(answer, Exception):
        raise answer
    return answer
