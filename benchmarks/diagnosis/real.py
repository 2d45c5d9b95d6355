"""Diagnose real data of which the difference is known, and write one page for each case.

    SHIFTLAB_DATA=... python benchmarks/diagnosis/real.py

reads MNIST, USPS and the Amazon reviews from the folder that SHIFTLAB_DATA names and writes
``real.csv`` and ``pages/*.html`` beside this file. Every case is run with several seeds; the
page is that of the first. The pages hold no image and no text of the data.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from shiftlab import Domain, diagnose
from shiftlab.data import load_digits5
from shiftlab.data.local import data_root
from shiftlab.diagnosis import Diagnosis

HERE = Path(__file__).parent
SHARES = np.array([20, 20, 15, 15, 10, 5, 5, 4, 3, 3]) / 100  # of the resampled digits


class Case(NamedTuple):
    """Two samples, what is true of them, and how to tell whether it was seen."""

    name: str
    expected: str
    draw: Callable[[int], tuple[Domain, Domain, dict[str, Any]]]
    right: Callable[[Diagnosis], bool]


def rows(domain: Domain, n: int, rng: np.random.Generator, shares: Any = None) -> np.ndarray:
    """Positions of n rows, with the given shares of the classes."""
    if shares is None:
        return rng.permutation(domain.n_rows)[:n]
    counts = rng.multinomial(n, shares)
    found = [rng.permutation(np.flatnonzero(domain.y == k))[:c] for k, c in enumerate(counts)]
    return rng.permutation(np.concatenate(found))


def mnist() -> Domain:
    return load_digits5("mnist", source="local", exclude_shared=False)


def class_scores(learn: Domain) -> Callable[[Any], np.ndarray]:
    """The scores of a linear digit classifier, learned on rows that are in neither sample."""
    model = make_pipeline(PCA(50, random_state=0), LogisticRegression(max_iter=300))
    model.fit(learn.X.reshape(learn.n_rows, -1) / 255, learn.y)
    return lambda X: model.decision_function(X.reshape(len(X), -1) / 255)


def halves(n: int, labelled: bool = True) -> Callable[[int], Any]:
    def draw(seed: int) -> Any:
        whole, rng = mnist(), np.random.default_rng(seed)
        order = rows(whole, 2 * n, rng)
        source, target = whole.take(order[:n]), whole.take(order[n:])
        return source, target if labelled else target.unlabelled(), {}

    return draw


def resampled(n: int, labelled: bool = True, scores: bool = False) -> Callable[[int], Any]:
    def draw(seed: int) -> Any:
        whole, rng = mnist(), np.random.default_rng(seed)
        order = rng.permutation(whole.n_rows)
        learn, first, second = (whole.take(part) for part in np.split(order, [5000, 5000 + n]))
        target = second.take(rows(second, n, rng, SHARES))
        options = {"features": class_scores(learn)} if scores else {}
        return first, target if labelled else target.unlabelled(), options

    return draw


def usps(n: int, labelled: bool = True) -> Callable[[int], Any]:
    def draw(seed: int) -> Any:
        rng = np.random.default_rng(seed)
        source, target = (
            d.take(rows(d, n, rng)) for d in (mnist(), load_digits5("usps", source="local"))
        )
        return source, target if labelled else target.unlabelled(), {}

    return draw


def fewer_digits(n: int) -> Callable[[int], Any]:
    def draw(seed: int) -> Any:
        whole, rng = mnist(), np.random.default_rng(seed)
        first, second = np.split(rng.permutation(whole.n_rows), 2)
        low = whole.take(first[whole.y[first] < 5][:n])
        return low, whole.take(second[:n]), {}

    return draw


def reviews(topic: str) -> Domain:
    root = data_root(None)
    with np.load(Path(root or "") / "amazon_reviews" / f"{topic}.npz", allow_pickle=False) as file:
        return Domain(sp.csr_matrix(file["X"]), file["y"], name=topic)


def topics(first: str, second: str, n: int, labelled: bool = True) -> Callable[[int], Any]:
    def draw(seed: int) -> Any:
        rng = np.random.default_rng(seed)
        if first == second:
            whole = reviews(first)
            order = rows(whole, 2 * n, rng)
            source, target = whole.take(order[:n]), whole.take(order[n:])
        else:
            source, target = (d.take(rows(d, n, rng)) for d in map(reviews, (first, second)))
        return source, target if labelled else target.unlabelled(), {"features": "tfidf"}

    return draw


def is_none(d: Diagnosis) -> bool:
    return d.kind == "none" and not d.label_space_differs and not d.feature_space_differs


def is_label(d: Diagnosis) -> bool:
    return d.kind == "label"


def fits_label(d: Diagnosis) -> bool:
    return d.kind == "label_compatible"


def marginal(d: Diagnosis) -> bool:
    return d.findings["marginal"].differs


def new_classes(d: Diagnosis) -> bool:
    return d.findings["label_space"].details.get("new") == [5, 6, 7, 8, 9]


def moved_words(d: Diagnosis) -> bool:
    """X differs, and the most telling words are on top."""
    return marginal(d) and d.features[0].status == "differs" and d.features[0].effect > 0.5


def cases(n: int) -> list[Case]:
    return [
        Case("mnist-mnist", "none", halves(n), is_none),
        Case("mnist-mnist-unlabelled", "none", halves(n, labelled=False), is_none),
        Case("mnist-resampled", "label", resampled(n), is_label),
        Case("mnist-resampled-class-scores", "label", resampled(n, scores=True), is_label),
        Case(
            "mnist-resampled-unlabelled",
            "label_compatible",
            resampled(n, labelled=False, scores=True),
            fits_label,
        ),
        Case("mnist-usps", "X differs", usps(n), marginal),
        Case("mnist-usps-unlabelled", "X differs", usps(n, labelled=False), marginal),
        Case("mnist04-mnist09", "new classes 5 to 9", fewer_digits(n), new_classes),
        Case("books-books", "none", topics("books", "books", n), is_none),
        Case(
            "books-kitchen", "X differs, words on top", topics("books", "kitchen", n), moved_words
        ),
        Case(
            "books-kitchen-unlabelled",
            "X differs, words on top",
            topics("books", "kitchen", n, labelled=False),
            moved_words,
        ),
    ]


def seen(d: Diagnosis) -> str:
    """The verdict in a few words."""
    parts = [d.kind]
    if d.feature_space_differs:
        parts.append("feature space differs")
    if d.label_space_differs:
        parts.append("label space differs")
    return ", ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=2000, help="rows a side")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="*", help="names of cases")
    parser.add_argument("--out", type=Path, default=HERE)
    given = parser.parse_args()
    if data_root(None) is None:
        raise SystemExit("Set SHIFTLAB_DATA to the folder with digits/ and amazon_reviews/.")
    (given.out / "pages").mkdir(parents=True, exist_ok=True)
    with (given.out / "real.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["case", "seed", "rows", "expected", "seen", "right", "top", "seconds"])
        for case in cases(given.rows):
            if given.only and case.name not in given.only:
                continue
            for seed in range(given.seeds):
                source, target, options = case.draw(seed)
                start = time.perf_counter()
                d = diagnose(source, target, random_state=seed, explain=seed == 0, **options)
                seconds = time.perf_counter() - start
                if seed == 0:
                    d.to_html(given.out / "pages" / f"{case.name}.html")
                top = " ".join(f.feature for f in d.features[:5] if f.status == "differs")
                line = [case.name, seed, given.rows, case.expected, seen(d), case.right(d), top]
                table.writerow([*line, f"{seconds:.1f}"])
                file.flush()
                print(*line, f"{seconds:.1f} s", sep=" | ", flush=True)


if __name__ == "__main__":
    main()
