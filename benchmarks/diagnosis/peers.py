"""Other tools on the same pairs, each in its own Python through `peer_worker.py`."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np

from shiftlab.data.shifts import make_shift
from shiftlab.domain import Domain

# tool -> (name of its Python in --peer-python, null pairs, pairs of each shift), by its speed
TOOLS = {
    "shiftlab": ("shiftlab", 100, 20),
    "shiftlab_unlabelled": ("shiftlab", 100, 20),
    "alibi_ks": ("alibi", 200, 20),
    "alibi_tabular": ("alibi", 200, 20),
    "alibi_chi2_labels": ("alibi", 200, 20),
    "alibi_bbsd": ("alibi", 200, 20),
    "alibi_c2st": ("alibi", 40, 10),
    "alibi_mmd": ("alibi_torch", 20, 3),
    "evidently": ("evidently", 40, 10),
    "detectshift": ("detectshift", 20, 5),
    "detectshift_half": ("detectshift", 20, 5),
}
FAMILIES = ("linear", "mixed")
SCENARIOS = (
    ("none", 1.0),
    ("covariate", 1.0),
    ("label", 1.0),
    ("concept", 1.0),
    ("feature_space", 1.0),
    ("new_class", 1.0),
    ("covariate", 0.4),
    ("label", 0.4),
    ("concept", 0.4),
)

Case = dict[str, Any]


def peer_cases(pythons: dict[str, str], pairs: int, seeds: int, n: int) -> dict[str, list[Case]]:
    """The cases of each tool that a Python is given for."""
    cases: dict[str, list[Case]] = {}
    for tool, (python, most_null, most_shifted) in TOOLS.items():
        if python not in pythons:
            continue
        most = {
            scenario: min(most_null, pairs) if scenario[0] == "none" else min(most_shifted, seeds)
            for scenario in SCENARIOS
        }
        cases[tool] = [
            _case(tool, family, *scenario, n, index)
            for index in range(max(most.values()))
            for scenario in SCENARIOS
            for family in FAMILIES
            if index < most[scenario]
        ]
    return cases


def _case(tool: str, family: str, kind: str, severity: float, n: int, index: int) -> Case:
    pair = f"peers|{family}|{kind}|{severity}|{n}|{index}"
    return {
        "key": f"{pair}|{tool}",
        "tool": tool,
        "family": family,
        "kind": kind,
        "severity": severity,
        "n": n,
        "index": index,
        "seed": zlib.crc32(pair.encode()) % 2**31,  # the same pair for every tool
    }


def run_peers(cases: dict[str, list[Case]], pythons: dict[str, str], jobs: int) -> Iterator[Case]:
    """Yield rows as they are answered; `jobs` tools at a time."""
    waiting: queue.Queue[str] = queue.Queue()
    for tool in cases:
        waiting.put(tool)
    rows: queue.Queue[Case | None] = queue.Queue()

    def work() -> None:
        while True:
            try:
                tool = waiting.get_nowait()
            except queue.Empty:
                break
            try:
                for row in _ask(tool, cases[tool], pythons[TOOLS[tool][0]]):
                    rows.put(row)
            except (OSError, RuntimeError) as error:
                print(f"{tool}: stopped, {error}", file=sys.stderr, flush=True)
        rows.put(None)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    running = jobs
    while running:
        row = rows.get()
        if row is None:
            running -= 1
        else:
            yield row


def _ask(tool: str, cases: list[Case], python: str) -> Iterator[Case]:
    worker = Path(__file__).with_name("peer_worker.py")
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [python, str(worker), tool],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"PYTHONWARNINGS": "ignore", "TQDM_DISABLE": "1"},
            cwd=folder,  # some tools leave files behind
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise RuntimeError(f"{python} cannot run {worker.name}: it needs numpy and pandas")
        for case in cases:
            source, target = make_shift(
                case["kind"],
                family=case["family"],
                n_source=case["n"],
                n_target=case["n"],
                severity=case["severity"],
                random_state=case["seed"],
            )
            job = {"seed": case["seed"]}
            for domain in (source, target):
                path = Path(folder, f"{domain.name}.csv")
                _write(domain, path)
                job[domain.name] = str(path)
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
            if not answer:
                raise RuntimeError(f"its process ended at {case['key']}")
            yield case | json.loads(answer)
        process.stdin.close()


def _write(domain: Domain, path: Path) -> None:
    import pandas as pd

    frame = (
        nw.from_native(domain.X).to_pandas()
        if domain.is_frame
        else pd.DataFrame(domain.X, columns=list(domain.feature_names))
    )
    frame.assign(label=np.asarray(domain.y)).to_csv(path, index=False)
