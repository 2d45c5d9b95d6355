"""Download the files of a card: hashed, resumed, from the first mirror that answers."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .cards import Card, CardFile
from .resources import cache_dir

__all__ = ["DownloadError", "ResumingDownloader", "download_card", "official_dir"]

_CHUNK = 1 << 16
_TIMEOUT = (10.0, 60.0)  # seconds to connect, seconds without a byte
_ATTEMPTS = 3  # at one address; each goes on from where the last one stopped
_log = logging.getLogger(__name__)

Report = Callable[[int, int | None], None]


class DownloadError(OSError):
    """No mirror gave the file; the message tells what each of them did.

    Examples
    --------
    >>> from shiftlab.data import DownloadError
    >>> issubclass(DownloadError, OSError)
    True
    """


class _WrongHash(Exception):
    """A complete file that is not the one that was asked for."""


def official_dir(root: str | os.PathLike[str] | None = None) -> Path:
    """Folder that downloads go to: ``root``, else ``official`` in the cache.

    Parameters
    ----------
    root : path or None, default=None
        The caller's choice.

    Returns
    -------
    Path
        The folder; it need not exist yet.

    Examples
    --------
    >>> from shiftlab.data.download import official_dir
    >>> official_dir().name
    'official'
    """
    return cache_dir() / "official" if root is None else Path(root).expanduser()


def _digest(path: Path, algorithm: str) -> str:
    # The hash finds damage and the wrong file; hence MD5, where a publisher gives no other.
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _matches(path: Path, known_hash: str) -> bool:
    algorithm, _, value = known_hash.partition(":")
    return path.is_file() and _digest(path, algorithm) == value.lower()


class ResumingDownloader:
    """A pooch downloader that tries mirrors in order and resumes where it stopped.

    Bytes go to ``<file>.part`` beside the final file. When the connection breaks, or
    the process is killed, the next attempt asks for the rest by an HTTP range request.
    A complete file with a wrong hash is deleted, and never kept as the result.

    Parameters
    ----------
    file : CardFile
        What to download.
    part : Path
        The partial file.
    report : callable or None, default=None
        Called with (bytes so far, total bytes or None).

    Examples
    --------
    >>> from pathlib import Path
    >>> from shiftlab.data import CardFile
    >>> from shiftlab.data.download import ResumingDownloader
    >>> file = CardFile("a.gz", "md5:0", ("https://example.org/a.gz",))
    >>> ResumingDownloader(file, Path("a.gz.part")).file.name
    'a.gz'
    """

    def __init__(self, file: CardFile, part: Path, report: Report | None = None) -> None:
        self.file = file
        self.part = part
        self.report = report

    def __call__(self, url: str, output_file: str, pooch: Any = None) -> None:
        """Download to ``output_file``; called by pooch with the first address.

        Parameters
        ----------
        url : str
            Ignored: the addresses are those of ``file``.
        output_file : str
            Where pooch wants the bytes.
        pooch : Pooch or None, default=None
            Ignored; part of pooch's protocol.

        Raises
        ------
        DownloadError
            If no address gave the right file.
        """
        if _matches(self.part, self.file.hash):  # complete, but the process died before the rename
            os.replace(self.part, output_file)
            return
        failures = []
        for address in self.file.urls:
            reason = self._try(address)
            if reason is None:
                os.replace(self.part, output_file)
                return
            _log.info("%s: %s", address, reason)
            failures.append(f"{address}: {reason}")
        raise DownloadError(
            f"could not download {self.file.name}. " + "; ".join(failures) + ". "
            f"With the file from elsewhere, put it into {self.part.parent}"
        )

    def _try(self, address: str) -> str | None:
        """None when the part file is complete and right, else why it is not."""
        import requests
        import urllib3

        reason = ""
        for _ in range(_ATTEMPTS):
            resumed = self.part.is_file() and self.part.stat().st_size > 0
            try:
                self._transfer(address)
                return None
            except _WrongHash as error:
                self.part.unlink(missing_ok=True)
                reason = str(error)
                if not resumed:
                    return reason  # the whole file came from here, asking again changes nothing
            except requests.HTTPError as error:
                return f"refused ({error})"
            except requests.ConnectTimeout:
                return "did not answer in time"
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
                reason = f"connection failed ({type(error).__name__})"
                if not self.part.is_file():
                    return reason
        return reason

    def _transfer(self, address: str) -> None:
        import requests

        done = self.part.stat().st_size if self.part.is_file() else 0
        # Asked for as it is: a .gz that is decoded on the way would have another hash.
        headers = {"Accept-Encoding": "identity"}
        if done:
            headers["Range"] = f"bytes={done}-"
        with requests.get(address, headers=headers, stream=True, timeout=_TIMEOUT) as response:
            if response.status_code == 416:  # nothing after `done`: complete, or another file
                self._check()
                return
            response.raise_for_status()
            if not (
                response.status_code == 206
                and response.headers.get("Content-Range", "").startswith(f"bytes {done}-")
            ):
                done = 0  # the server sends the file from its beginning
            length = response.headers.get("Content-Length")
            total = done + int(length) if length is not None else None
            with self.part.open("ab" if done else "wb") as file:
                for block in response.raw.stream(_CHUNK, decode_content=False):
                    file.write(block)
                    done += len(block)
                    if self.report is not None:
                        self.report(done, total)
            if total is not None and done < total:
                raise requests.ConnectionError(f"got {done} of {total} bytes")
        self._check()

    def _check(self) -> None:
        if not _matches(self.part, self.file.hash):
            algorithm = self.file.hash.partition(":")[0]
            raise _WrongHash(
                f"sent another file ({algorithm} {_digest(self.part, algorithm)}, "
                f"expected {self.file.hash})"
            )


@contextmanager
def _progress_bar(shown: bool) -> Iterator[Callable[[str], Report | None]]:
    if not shown:
        yield lambda name: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:

        def task(name: str) -> Report:
            number = bar.add_task(name, total=None)
            return lambda done, total: bar.update(number, completed=done, total=total)

        yield task


def download_card(card: Card, folder: Path, progress: bool = True) -> None:
    """Download every file of a card that ``folder`` does not hold yet.

    Parameters
    ----------
    card : Card
        A card with files.
    folder : Path
        Where they go; made when missing.
    progress : bool, default=True
        Whether to show a progress bar on stderr.

    Raises
    ------
    DownloadError
        If a file could not be had from any mirror. Files that are complete stay, and
        the next call resumes the rest.
    """
    import pooch

    folder.mkdir(parents=True, exist_ok=True)
    with _progress_bar(progress) as task:
        for file in card.files:
            target = folder / file.name
            if _matches(target, file.hash):
                continue
            downloader = ResumingDownloader(file, folder / f"{file.name}.part", task(file.name))
            pooch.retrieve(
                url=file.urls[0],
                known_hash=file.hash,
                fname=file.name,
                path=folder,
                downloader=downloader,
            )
