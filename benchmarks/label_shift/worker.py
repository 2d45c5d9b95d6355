"""Estimates of one library on the samples of ``cases.py``, as JSON lines.

Run by a Python that has the library: ``worker.py quapy digits 20``.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from cases import ALPHAS, NOISES, digits_case, shares
from sklearn.linear_model import LogisticRegression

OURS = ("auto", "em", "bbse", "rlls")


def model() -> LogisticRegression:
    return LogisticRegression(max_iter=1000)


def quapy_methods() -> dict[str, Callable[[], Any]]:
    from quapy.method.aggregative import ACC, CC, EMQ, PACC, PCC, KDEyML

    return {
        "QuaPy CC": lambda: CC(model()),
        "QuaPy PCC": lambda: PCC(model()),
        "QuaPy ACC": lambda: ACC(model()),
        "QuaPy PACC": lambda: PACC(model()),
        "QuaPy EMQ": lambda: EMQ(model()),
        "QuaPy EMQ-BCTS": lambda: EMQ.EMQ_BCTS(model()),
        "QuaPy KDEyML": lambda: KDEyML(model(), random_state=0),
    }


def digits(library: str, seeds: int) -> Iterator[dict[str, Any]]:
    """L1 error of the shares that the target rows have."""
    for noise in NOISES:
        for alpha in ALPHAS:
            for seed in range(seeds):
                case = digits_case(noise, alpha, seed)
                for name, estimate in estimators(library, seed).items():
                    start = time.perf_counter()
                    prior, refused = estimate(case)
                    yield {
                        "part": f"digits noise {noise:g}",
                        "alpha": alpha,
                        "seed": seed,
                        "method": name,
                        "error": float(np.abs(prior - shares(case.hidden)).sum()),
                        "refused": refused,
                        "seconds": time.perf_counter() - start,
                    }


def estimators(library: str, seed: int) -> dict[str, Callable[[Any], tuple[Any, bool]]]:
    def ours(method: str) -> Callable[[Any], tuple[Any, bool]]:
        from shiftlab import PriorCorrection

        def estimate(case: Any) -> tuple[Any, bool]:
            fitted = PriorCorrection(model(), method=method, random_state=seed)
            fitted.fit((case.X, case.y), case.target)
            return fitted.prior_, fitted.refused_ is not None

        return estimate

    def peer(make: Callable[[], Any]) -> Callable[[Any], tuple[Any, bool]]:
        def estimate(case: Any) -> tuple[Any, bool]:
            quantifier = make()
            quantifier.fit(case.X, case.y)
            return np.asarray(quantifier.predict(case.target)), False

        return estimate

    if library == "shiftlab":
        return {f"shiftlab {method}": ours(method) for method in OURS}
    return {name: peer(make) for name, make in quapy_methods().items()}


def mnist(library: str, draws: int) -> Iterator[dict[str, Any]]:
    """Squared error of the class weights and gain of accuracy with a model that is fitted.

    10,000 rows train a logistic regression, once; 2,000 others are the labelled source and
    2,000 of the official test rows, drawn to a Dirichlet prior, the target.
    """
    from sklearn.frozen import FrozenEstimator

    from shiftlab import PriorCorrection

    with np.load(Path(os.environ["SHIFTLAB_DATA"]) / "digits" / "mnist.npz") as files:
        X, y, Z, z = (files[k] for k in ("X_train", "y_train", "X_test", "y_test"))
    X, Z = X.reshape(len(X), -1) / 255.0, Z.reshape(len(Z), -1) / 255.0
    base = LogisticRegression(C=0.05, max_iter=200, tol=1e-3).fit(X[:10_000], y[:10_000])
    for alpha in ALPHAS:
        for draw in range(draws):
            rng = np.random.default_rng([draw, round(10 * alpha)])
            held_out = rng.choice(np.arange(10_000, len(X)), 2000, replace=False)
            counts = rng.multinomial(2000, rng.dirichlet(np.full(10, alpha)))
            target = np.concatenate(
                [rng.choice(np.flatnonzero(z == c), counts[c]) for c in range(10)]
            )
            truth = shares(z[target]) / shares(y[held_out])
            before = base.score(Z[target], z[target])
            for method in OURS:
                start = time.perf_counter()
                fitted = PriorCorrection(FrozenEstimator(base), method=method, random_state=draw)
                fitted.fit((X[held_out], y[held_out]), Z[target])
                yield {
                    "part": "mnist",
                    "alpha": alpha,
                    "seed": draw,
                    "method": f"shiftlab {method}",
                    "error": float(np.square(fitted.weights_ - truth).mean()),
                    "gain": 100 * (fitted.score(Z[target], z[target]) - before),
                    "base": 100 * before,
                    "refused": fitted.refused_ is not None,
                    "seconds": time.perf_counter() - start,
                }


def speed(library: str, repeats: int) -> Iterator[dict[str, Any]]:
    """Processor seconds to fit to, and to correct, a million target rows of 10 classes."""
    from shiftlab import PriorCorrection

    rng = np.random.default_rng(0)
    centres = 1.5 * rng.normal(size=(10, 10))

    def draw(n: int, prior: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        y = rng.choice(10, n, p=prior)
        return centres[y] + rng.normal(size=(n, 10)), y

    source = draw(5_000, np.full(10, 0.1))
    target, _ = draw(1_000_000, rng.dirichlet(np.ones(10)))
    for repeat in range(repeats):
        start = time.process_time()
        fitted = PriorCorrection(model(), random_state=0).fit(source, target)
        middle = time.process_time()
        fitted.predict_proba(target)
        for name, seconds in (
            ("fit", middle - start),
            ("predict_proba", time.process_time() - middle),
        ):
            yield {
                "part": "million rows",
                "seed": repeat,
                "method": f"shiftlab auto, {name}",
                "seconds": seconds,
            }


def main() -> None:
    warnings.simplefilter("ignore")
    library, part, repeats = sys.argv[1:4]
    for row in {"digits": digits, "mnist": mnist, "speed": speed}[part](library, int(repeats)):
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
