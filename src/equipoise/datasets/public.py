"""Public outcome tables by name: find one that is already here, or download, check and convert it."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from equipoise.atomic import write_whole
from equipoise.datasets.registry import DATASETS, PublicDataset, Remote
from equipoise.errors import InputError, UnknownName
from equipoise.tables.convert import convert
from equipoise.tables.files import read_table, write_table
from equipoise.tables.table import OutcomeTable

Fetch = Callable[[str], Iterator[bytes]]
Notice = Callable[[str], None]

ENDINGS = (".parquet", ".csv", ".jsonl")
MAX_DOWNLOAD_BYTES = 500_000_000
TIMEOUT_S = 30.0
BLOCK = 1 << 18
CHECKSUMS = "checksums.json"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def dataset(name: str) -> PublicDataset:
    """The registry's entry.

    Raises:
        UnknownName: with the nearest name.
    """
    if name not in DATASETS:
        raise UnknownName("data set", name, DATASETS)
    return DATASETS[name]


def find(name: str, folders: Sequence[Path]) -> Path | None:
    """Where the table lies, if it does: in the package, else in the first folder that has it."""
    known = dataset(name)
    if known.ships:
        shipped = Path(__file__).parent / known.name / f"{known.name}.parquet"
        if shipped.is_file():
            return shipped
    return _in_folders((known.name, known.name.replace("-", "_"), *known.aliases), folders)


def _in_folders(names: Sequence[str], folders: Sequence[Path]) -> Path | None:
    for folder in folders:
        for stem in names:
            for ending in ENDINGS:
                file = folder / f"{stem}{ending}"
                if file.is_file():
                    return file
    return None


def path(name: str, folders: Sequence[Path]) -> Path:
    """Where the table lies.

    Args:
        name: a registered name.
        folders: where to look, in order: those that EQUIPOISE_DATA names, then the cache folder.

    Raises:
        InputError: when it is in none of them; the message says how to get it.
        UnknownName: for a name that is not registered.
    """
    found = find(name, folders)
    if found is None:
        raise InputError(_how_to_get(name, folders))
    return found


def _how_to_get(name: str, folders: Sequence[Path]) -> str:
    known = dataset(name)
    if known.ships:
        return f"the data set '{name}' is missing from this installation; install the package again"
    larger = whole(name, folders)
    if larger is not None:
        return (
            f"the data set '{name}' is here only as part of {larger}; use that file, or download it alone with: "
            f"equipoise datasets get {name}"
        )
    how = known.by_hand or f"download it with: equipoise datasets get {name}"
    return (
        f"the data set '{name}' is not on this machine; {how}, or put {name}.parquet into a folder that "
        "EQUIPOISE_DATA names"
    )


def whole(name: str, folders: Sequence[Path]) -> Path | None:
    """The file of a larger data set that this one is part of, if there is one."""
    part_of = dataset(name).part_of
    return None if part_of is None else _in_folders(part_of[:1], folders)


def load(name: str, folders: Sequence[Path]) -> OutcomeTable:
    """The table itself; a data set that is part of a larger file is cut out of it.

    Raises:
        InputError: when it is not on this machine.
    """
    known = dataset(name)
    if known.part_of is not None and find(name, folders) is None:
        larger = whole(name, folders)
        if larger is not None:
            table = read_table(larger)
            rows = [i for i, label in enumerate(table.datasets) if str(label).startswith(known.part_of[1])]
            return table.take(np.array(rows, dtype=np.int64))
    return read_table(path(name, folders))


# ---------------------------------------------------------------- download


def get(name: str, dest: Path, fetch: Fetch, *, notice: Notice = lambda text: None) -> Path:
    """Download a data set, check it, convert it, and put ``NAME.parquet`` into ``dest``. Returns its path.

    Files whose checksum nobody published are accepted the first time, with a warning, and their checksum is
    recorded in ``dest``: from then on they must not change.

    Args:
        name: a registered name.
        dest: the folder, made if need be.
        fetch: yields the bytes behind a URL, ``fetch_https`` outside of tests.
        notice: takes lines of progress and warnings.

    Raises:
        InputError: when it cannot be downloaded, is too large, or does not have its checksum.
    """
    known = dataset(name)
    if known.ships:
        return path(name, (dest,))
    if known.by_hand:
        raise InputError(f"the data set '{name}' is not downloaded for you: {known.by_hand}")
    return download(known, dest, fetch, notice=notice)


def download(known: PublicDataset, dest: Path, fetch: Fetch, *, notice: Notice = lambda text: None) -> Path:
    """What ``get`` does, for an entry that need not be registered."""
    try:
        dest.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f"{known.name}.tmp-{os.getpid()}-", dir=dest))
    except OSError as error:
        raise InputError(f"{dest}: cannot be written ({error.strerror}); choose another folder with --out") from error
    try:
        raw = scratch / known.name
        raw.mkdir()
        recorded = _recorded(dest)
        sums = {}
        for i, remote in enumerate(known.files):
            notice(f"{known.name}: file {i + 1} of {len(known.files)}: {remote.filename}")
            sums[remote.url] = _one_file(remote, raw / remote.filename, fetch, recorded.get(remote.url), notice)
        only = raw / known.files[0].filename
        table = convert(raw if len(known.files) > 1 else only, format=known.format)
        target = dest / f"{known.name}.parquet"
        write_table(table, target)
        text = json.dumps(recorded | sums, indent=2, sort_keys=True) + "\n"
        write_whole(dest / CHECKSUMS, lambda file: file.write(text.encode()))
        return target
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _recorded(dest: Path) -> dict[str, str]:
    """The checksums that earlier downloads had."""
    file = dest / CHECKSUMS
    if not file.exists():
        return {}
    try:
        sums: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read as JSON; remove it to start again") from error
    if not isinstance(sums, Mapping) or not all(isinstance(value, str) for value in sums.values()):
        raise InputError(f"{file}: not a list of checksums; remove it to start again")
    return dict(sums)


def _one_file(remote: Remote, target: Path, fetch: Fetch, recorded: str | None, notice: Notice) -> str:
    digest = hashlib.sha256()
    size = 0
    with target.open("wb") as file:
        for block in fetch(remote.url):
            size += len(block)
            if size > MAX_DOWNLOAD_BYTES:
                raise InputError(f"{remote.url}: more than {MAX_DOWNLOAD_BYTES // 1_000_000} MB; not what was expected")
            digest.update(block)
            file.write(block)
    found = digest.hexdigest()
    expected = remote.sha256 or recorded
    if expected is None:
        notice(f"warning: no published checksum for {remote.filename}; recording its sha256 {found[:16]}...")
    elif found != expected:
        raise InputError(
            f"{remote.url}: sha256 {found[:16]}... is not the expected {expected[:16]}...; the file was "
            "changed or damaged on the way: try again, and do not use it if this repeats"
        )
    return found


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to places that could have been asked in the first place."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        try:
            _check_url(newurl)
        except InputError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch_https(url: str) -> Iterator[bytes]:
    """The bytes behind an https URL (http from this machine only), block by block.

    Raises:
        InputError: when the download fails.
    """
    _check_url(url)
    request = urllib.request.Request(url, headers={"User-Agent": "equipoise"})  # noqa: S310  (checked above)
    try:
        with urllib.request.build_opener(_SafeRedirects).open(request, timeout=TIMEOUT_S) as response:
            left = response.headers.get("Content-Length")
            count = 0
            while block := response.read(BLOCK):
                count += len(block)
                yield block
    except urllib.error.HTTPError as error:
        error.close()
        raise InputError(f"{url}: the server answered {error.code} {error.reason}; try again later") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise InputError(f"{url}: cannot be downloaded ({reason}); check the network and try again") from error
    if left is not None and left.isdigit() and int(left) != count:
        raise InputError(f"{url}: {count:,} of {int(left):,} bytes came; try again")


def _check_url(url: str) -> None:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        return
    raise InputError(f"{url}: only https addresses are downloaded from")
