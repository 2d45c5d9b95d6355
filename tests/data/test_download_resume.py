from __future__ import annotations

import gzip
import hashlib
import http.server
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from shiftlab.data import (
    Card,
    CardFile,
    DownloadError,
    cards,
    describe_digits5,
    fetch,
    load_digits5,
)
from shiftlab.data.download import download_card

CONTENT = np.random.RandomState(0).bytes(300_000)
SHA256 = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


class Server:
    """A server on loopback; the first part of a path says how it misbehaves."""

    def __init__(self) -> None:
        self.files = {"file.bin": CONTENT}
        self.requests: list[tuple[str, str | None]] = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *args: object) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def url(self, behaviour: str, name: str = "file.bin") -> str:
        return f"http://127.0.0.1:{self.http.server_port}/{behaviour}/{name}"

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        _, behaviour, name = handler.path.split("/")
        wanted = handler.headers.get("Range")
        self.requests.append((behaviour, wanted))
        content = self.files.get(name)
        if content is None or behaviour == "missing":
            handler.send_error(404)
            return
        if behaviour == "wrong":
            content = bytes(len(content))
        start = 0
        if wanted and behaviour != "norange":
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                handler.send_error(416)
                return
        body = content[start:]
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if behaviour == "encoded" and "gzip" in handler.headers.get("Accept-Encoding", ""):
            body = gzip.compress(body)
            handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if behaviour == "truncated":  # always breaks off at the same place
            body = content[: len(content) // 2][start:]
        elif behaviour == "drops":  # breaks off after a while, each time
            body = body[:120_000]
        try:
            for at in range(0, len(body), 20_000):
                handler.wfile.write(body[at : at + 20_000])
                if behaviour == "slow":
                    time.sleep(0.2)
        except ConnectionError:
            pass


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.http.shutdown()
    running.http.server_close()


def card(*urls: str, known_hash: str = SHA256) -> Card:
    return Card(
        name="toy",
        title="Toy",
        collection="toys",
        licence="free",
        non_commercial=False,
        shape=(1,),
        n_train=1,
        n_test=1,
        citation="nobody",
        homepage="",
        files=(CardFile("file.bin", known_hash, urls),),
        recipe="",
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def assert_complete(folder: Path) -> None:
    assert (folder / "file.bin").read_bytes() == CONTENT
    assert names(folder) == ["file.bin"]


@pytest.fixture
def refused() -> str:
    """An address on which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return f"http://127.0.0.1:{port}/file.bin"


def test_good_file_is_downloaded_once(tmp_path: Path, server: Server) -> None:
    for _ in range(2):
        download_card(card(server.url("good")), tmp_path, progress=False)
        assert_complete(tmp_path)
    assert server.requests == [("good", None)]


def test_md5_is_understood(tmp_path: Path, server: Server) -> None:
    md5 = "md5:" + hashlib.md5(CONTENT).hexdigest()
    download_card(card(server.url("good"), known_hash=md5), tmp_path, progress=False)
    assert_complete(tmp_path)


def test_progress_bar_goes_to_stderr(tmp_path: Path, server: Server, capsys) -> None:
    download_card(card(server.url("good")), tmp_path, progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "file.bin" in captured.err


def test_a_changed_file_is_downloaded_again(tmp_path: Path, server: Server) -> None:
    (tmp_path / "file.bin").write_bytes(CONTENT[:-1] + b"?")
    download_card(card(server.url("good")), tmp_path, progress=False)
    assert_complete(tmp_path)


def test_dropped_connections_are_resumed(tmp_path: Path, server: Server) -> None:
    download_card(card(server.url("drops")), tmp_path, progress=False)
    assert_complete(tmp_path)
    assert server.requests == [
        ("drops", None),
        ("drops", "bytes=120000-"),
        ("drops", "bytes=240000-"),
    ]


def test_truncated_file_is_an_error_and_the_next_call_resumes(
    tmp_path: Path, server: Server
) -> None:
    with pytest.raises(DownloadError, match=r"file\.bin.*connection failed"):
        download_card(card(server.url("truncated")), tmp_path, progress=False)
    assert names(tmp_path) == ["file.bin.part"]
    assert (tmp_path / "file.bin.part").read_bytes() == CONTENT[: len(CONTENT) // 2]
    download_card(card(server.url("good")), tmp_path, progress=False)
    assert_complete(tmp_path)
    assert server.requests[-1] == ("good", f"bytes={len(CONTENT) // 2}-")


def test_wrong_hash_is_an_error_that_leaves_nothing(tmp_path: Path, server: Server) -> None:
    with pytest.raises(DownloadError, match="sent another file") as caught:
        download_card(card(server.url("wrong")), tmp_path, progress=False)
    assert SHA256 in str(caught.value)
    assert names(tmp_path) == []
    assert len(server.requests) == 1


def test_refused_connection_is_an_error_that_names_the_address(
    tmp_path: Path, refused: str
) -> None:
    with pytest.raises(DownloadError, match="connection failed") as caught:
        download_card(card(refused), tmp_path, progress=False)
    assert refused in str(caught.value)
    assert f"put it into {tmp_path}" in str(caught.value)
    assert names(tmp_path) == []


def test_mirrors_are_tried_in_order(tmp_path: Path, server: Server, refused: str) -> None:
    urls = (refused, server.url("missing"), server.url("wrong"), server.url("good"))
    download_card(card(*urls, server.url("norange")), tmp_path, progress=False)
    assert_complete(tmp_path)
    assert [behaviour for behaviour, _ in server.requests] == ["missing", "wrong", "good"]


def test_all_mirrors_failing_are_all_named(tmp_path: Path, server: Server, refused: str) -> None:
    with pytest.raises(DownloadError) as caught:
        download_card(card(refused, server.url("missing")), tmp_path, progress=False)
    assert refused in str(caught.value)
    assert "404" in str(caught.value)


def test_one_mirror_goes_on_where_another_stopped(tmp_path: Path, server: Server) -> None:
    urls = (server.url("truncated"), server.url("good"))
    download_card(card(*urls), tmp_path, progress=False)
    assert_complete(tmp_path)
    assert server.requests[-1] == ("good", f"bytes={len(CONTENT) // 2}-")


def test_server_without_ranges_sends_all_again(tmp_path: Path, server: Server) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:1000])
    download_card(card(server.url("norange")), tmp_path, progress=False)
    assert_complete(tmp_path)


@pytest.mark.parametrize("stale", [b"stale" * 100, b"stale" * 100_000])
def test_a_stale_partial_file_does_no_harm(tmp_path: Path, server: Server, stale: bytes) -> None:
    (tmp_path / "file.bin.part").write_bytes(stale)
    download_card(card(server.url("good")), tmp_path, progress=False)
    assert_complete(tmp_path)


def test_a_complete_partial_file_needs_no_request(tmp_path: Path, server: Server) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    download_card(card(server.url("good")), tmp_path, progress=False)
    assert_complete(tmp_path)
    assert server.requests == []


def test_bytes_are_kept_as_they_are_sent(tmp_path: Path, server: Server) -> None:
    download_card(card(server.url("encoded")), tmp_path, progress=False)
    assert_complete(tmp_path)


def test_killed_process_is_resumed_by_the_next(tmp_path: Path, server: Server) -> None:
    program = (
        "from pathlib import Path; from shiftlab.data import CardFile\n"
        "from shiftlab.data.download import ResumingDownloader\n"
        f"file = CardFile('file.bin', {SHA256!r}, ({server.url('slow')!r},))\n"
        f"ResumingDownloader(file, Path({str(tmp_path)!r}, 'file.bin.part'))('', 'unused')\n"
    )
    part = tmp_path / "file.bin.part"
    process = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not (part.is_file() and part.stat().st_size >= 60_000):
        assert time.monotonic() < deadline, "the download did not start"
        assert process.poll() is None, "the download ended too early"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    have = part.stat().st_size
    assert 0 < have < len(CONTENT)
    download_card(card(server.url("good")), tmp_path, progress=False)
    assert_complete(tmp_path)
    assert server.requests[-1] == ("good", f"bytes={have}-")


CARD = """
name = "{name}"
title = "Toy"
licence = "free"
non_commercial = false
shape = [28, 28]
splits = {{ train = 20, test = 10 }}
citation = "nobody"
homepage = ""
{rest}
"""
FILE = '[[files]]\nname = "{name}"\nhash = "{hash}"\nurls = ["{url}"]\n'


class TestOfficial:
    @pytest.fixture
    def toy_cards(
        self, tmp_path: Path, monkeypatch, server: Server, toy: dict, idx_bytes, few_rendered
    ) -> Server:
        """Cards like the real ones, whose files a server on loopback has."""
        rest = ""
        for key, name in {
            "X_train": "train-images-idx3-ubyte.gz",
            "y_train": "train-labels-idx1-ubyte.gz",
            "X_test": "t10k-images-idx3-ubyte.gz",
            "y_test": "t10k-labels-idx1-ubyte.gz",
        }.items():
            content = gzip.compress(idx_bytes(toy[key].astype(np.uint8)))
            server.files[name] = content
            digest = "sha256:" + hashlib.sha256(content).hexdigest()
            rest += FILE.format(name=name, hash=digest, url=server.url("good", name))
        folder = tmp_path / "cards" / "digit5"
        folder.mkdir(parents=True)
        (folder / "mnist.toml").write_text(CARD.format(name="mnist", rest=rest))
        for name in ("mnist_m", "synth", "usps", "svhn"):
            text = CARD.format(name=name, rest=f'recipe = "the {name} recipe"')
            (folder / f"{name}.toml").write_text(text)
        monkeypatch.setattr(cards, "resource_root", lambda kind: tmp_path / "cards")
        monkeypatch.setenv("SHIFTLAB_CACHE", str(tmp_path / "cache"))
        return server

    def test_mnist_is_fetched_and_then_found(self, toy_cards: Server, toy: dict) -> None:
        whole = load_digits5("mnist", "train", source="official", exclude_shared=False)
        np.testing.assert_array_equal(whole.X, toy["X_train"])
        np.testing.assert_array_equal(whole.y, toy["y_train"])
        asked = len(toy_cards.requests)
        assert asked == 4
        test = load_digits5("mnist", "test", exclude_shared=False)  # auto finds it
        np.testing.assert_array_equal(test.X, toy["X_test"])
        assert len(toy_cards.requests) == asked
        record = describe_digits5()[0]
        assert (record.kind, record.stand_in) == ("official", False)

    def test_mnist_m_is_made_by_recipe_from_the_half_that_mnist_leaves(
        self, toy_cards: Server, toy: dict
    ) -> None:
        folder = fetch("mnist_m", progress=False)
        assert [path.name for path in folder.iterdir()] == ["mnist_m.npz"]
        for half, n in (("train", 20), ("test", 10)):
            made = load_digits5("mnist_m", half, channels=3, source="official")
            kept = load_digits5("mnist", half, source="official")
            assert made.name == "mnist_m (stand-in)"
            assert len(made) == len(kept) == n // 2
            left = {image.tobytes() for image in kept.X}
            used = np.array([image.tobytes() not in left for image in toy[f"X_{half}"]])
            np.testing.assert_array_equal(made.y, toy[f"y_{half}"][used])
        record = describe_digits5()[1]
        assert record.stand_in
        assert "the mnist_m recipe" in record.note

    def test_fetched_mnist_alone_still_gives_a_disjoint_mnist_m(
        self, toy_cards: Server, toy: dict
    ) -> None:
        fetch("mnist", progress=False)
        labels = [load_digits5(name, "train").y for name in ("mnist", "mnist_m")]
        np.testing.assert_array_equal(np.sort(np.concatenate(labels)), np.sort(toy["y_train"]))

    def test_synth_is_rendered_into_the_chosen_root(
        self, toy_cards: Server, tmp_path: Path, few_rendered
    ) -> None:
        folder = fetch("synth", root=tmp_path / "mine", progress=False)
        assert folder == tmp_path / "mine" / "synth"
        synth = load_digits5("synth", "test", root=tmp_path / "mine", source="local")
        assert len(synth) == few_rendered["test"]
        assert synth.name == "synth (stand-in)"  # the file remembers what made it

    def test_a_lost_server_is_one_clear_error(self, toy_cards: Server) -> None:
        toy_cards.files.clear()
        with pytest.raises(DownloadError, match=r"train-images-idx3-ubyte\.gz.*404"):
            load_digits5("mnist", source="official")
