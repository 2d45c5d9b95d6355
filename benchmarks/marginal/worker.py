"""One fit of one method in a process of its own; prints what was measured as JSON.

Needs NumPy and the library that is measured, and nothing of shiftlab for a peer:

    python worker.py "skada KMM" 5000
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
for backend in ("TENSORFLOW", "PYTORCH", "JAX", "CUPY"):
    os.environ[f"POT_BACKEND_DISABLE_{backend}"] = "1"

import numpy as np  # noqa: E402 - after the thread limits

COLUMNS = 20
SCALE = 0.8
GAMMA = 0.025  # of the kernels of all methods that do not choose one
SIGMA = (1 / (2 * GAMMA)) ** 0.5

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]
Fit = Callable[[np.ndarray, np.ndarray, np.ndarray], "np.ndarray | None"]


def draw(n: int, seed: int) -> Arrays:
    """Source N(0, I) with two classes; target N(m, 0.64 I) with m = 0.5 in five columns."""
    rng = np.random.default_rng(seed)
    Xs, Xt = rng.normal(size=(n, COLUMNS)), SCALE * rng.normal(size=(n, COLUMNS))
    Xt[:, :5] += 0.5
    return Xs, (Xs[:, 0] + rng.normal(size=n) > 0).astype(int), Xt


def log_ratio(X: np.ndarray) -> np.ndarray:
    """Log of the target's density over the source's."""
    mean = np.where(np.arange(COLUMNS) < 5, 0.5, 0.0)
    moved = np.square(X - mean).sum(axis=1) / (2 * SCALE**2)
    return np.square(X).sum(axis=1) / 2 - moved - COLUMNS * np.log(SCALE)


def ours(name: str, **settings: object) -> Fit:
    import shiftlab

    kind = getattr(shiftlab, name)
    if "random_state" in kind().get_params(deep=False):
        settings["random_state"] = 0
    adapter = kind(**settings)

    def fit(Xs: np.ndarray, ys: np.ndarray, Xt: np.ndarray) -> np.ndarray | None:
        adapter.fit((Xs, ys), Xt)
        return getattr(adapter, "weights_", None)

    return fit


def plain_kmm() -> Fit:
    """Ours with the peers' kernel and next to no penalty: the problem that they solve."""
    spread = ((1 + SCALE**2) / 2) ** 0.5
    pair = np.concatenate([part for i, part in enumerate(draw(1000, 99)) if i != 1]) / spread
    i, j = np.random.default_rng(0).integers(len(pair), size=(2, 100_000))
    median = np.median(np.linalg.norm(pair[i] - pair[j], axis=1))
    settings = {"bandwidth": SIGMA / spread / median, "penalty": 1e-6, "n_landmarks": 500}
    return ours("KMM", flatten=1.0, clip=1000.0, **settings)


def skada(name: str, **settings: object) -> Fit:
    import skada

    adapter = getattr(skada, name)(**settings)

    def fit(Xs: np.ndarray, ys: np.ndarray, Xt: np.ndarray) -> np.ndarray | None:
        X, domain = np.concatenate([Xs, Xt]), np.repeat([1, -2], [len(Xs), len(Xt)])
        y = np.concatenate([ys, np.full(len(Xt), -1)])
        adapter.fit(X, y, sample_domain=domain)
        if not name.endswith("ReweightAdapter"):
            adapter.transform(X, y, sample_domain=domain, allow_source=True)
            return None
        found = adapter.compute_weights(X, sample_domain=domain)
        return np.asarray(found)[: len(Xs)] if found is not None else None

    return fit


def adapt(name: str, **settings: object) -> Fit:
    import adapt.feature_based
    import adapt.instance_based
    from sklearn.linear_model import LogisticRegression

    home = adapt.instance_based if hasattr(adapt.instance_based, name) else adapt.feature_based

    def fit(Xs: np.ndarray, ys: np.ndarray, Xt: np.ndarray) -> np.ndarray | None:
        model = getattr(home, name)(LogisticRegression(), Xt=Xt, verbose=0, **settings)
        if home is adapt.instance_based:
            return np.asarray(model.fit_weights(Xs, Xt))
        model.fit_transform(Xs, Xt)
        return None

    return fit


def densratio(**settings: object) -> Fit:
    from densratio import densratio as estimate

    def fit(Xs: np.ndarray, ys: np.ndarray, Xt: np.ndarray) -> np.ndarray:
        return np.asarray(estimate(Xt, Xs, verbose=False, **settings).compute_density_ratio(Xs))

    return fit


GRID = [GAMMA / 4, GAMMA, GAMMA * 4]
CASES: dict[str, Callable[[], Fit]] = {
    "shiftlab KMM": lambda: ours("KMM", flatten=1.0),
    "shiftlab KMM (penalty 1e-6, their kernel)": plain_kmm,
    "shiftlab KLIEP": lambda: ours("KLIEP", flatten=1.0),
    "shiftlab ULSIF": lambda: ours("ULSIF", flatten=1.0),
    "shiftlab RULSIF": lambda: ours("RULSIF", flatten=1.0),
    "shiftlab KernelDensityWeighting": lambda: ours("KernelDensityWeighting", flatten=1.0),
    "shiftlab GaussianWeighting": lambda: ours("GaussianWeighting", flatten=1.0),
    "shiftlab NearestNeighborWeighting": lambda: ours("NearestNeighborWeighting", flatten=1.0),
    "shiftlab ClassifierWeighting": lambda: ours("ClassifierWeighting", flatten=1.0),
    "shiftlab CORAL": lambda: ours("CORAL"),
    "shiftlab LinearTransport": lambda: ours("LinearTransport"),
    "shiftlab LocationScale": lambda: ours("LocationScale"),
    "shiftlab SubspaceAlignment": lambda: ours("SubspaceAlignment"),
    "shiftlab GFK": lambda: ours("GFK"),
    "shiftlab TCA (linear)": lambda: ours("TCA", kernel="linear"),
    "shiftlab TCA (gaussian)": lambda: ours("TCA", kernel="gaussian"),
    "shiftlab JDA": lambda: ours("JDA"),
    "shiftlab BalancedDistribution": lambda: ours("BalancedDistribution"),
    "shiftlab TransferJointMatching": lambda: ours("TransferJointMatching"),
    "shiftlab OptimalTransport": lambda: ours("OptimalTransport"),
    "shiftlab OptimalTransport (exact)": lambda: ours("OptimalTransport", method="exact"),
    "shiftlab OptimalTransport (by class)": lambda: ours(
        "OptimalTransport", method="class_regularized"
    ),
    "shiftlab FeatureAugmentation": lambda: ours("FeatureAugmentation"),
    "skada KMM": lambda: skada("KMMReweightAdapter", gamma=GAMMA),
    "skada KLIEP (CV)": lambda: skada("KLIEPReweightAdapter", gamma=GRID),
    "skada Density": lambda: skada("DensityReweightAdapter"),
    "skada Gaussian": lambda: skada("GaussianReweightAdapter"),
    "skada NearestNeighbor": lambda: skada("NearestNeighborReweightAdapter"),
    "skada Discriminator": lambda: skada("DiscriminatorReweightAdapter"),
    "skada CORAL": lambda: skada("CORALAdapter"),
    "skada LinearOT": lambda: skada("LinearOTMappingAdapter"),
    "skada SubspaceAlignment": lambda: skada("SubspaceAlignmentAdapter", n_components=5),
    "skada TCA": lambda: skada("TransferComponentAnalysisAdapter", n_components=5),
    "skada TransferJointMatching": lambda: skada("TransferJointMatchingAdapter", n_components=5),
    "skada OTMapping (exact)": lambda: skada("OTMappingAdapter"),
    "skada EntropicOT": lambda: skada("EntropicOTMappingAdapter"),
    "skada ClassRegularizerOT": lambda: skada("ClassRegularizerOTMappingAdapter"),
    "adapt KMM (blocks of 1000)": lambda: adapt("KMM", kernel="rbf", gamma=GAMMA),
    "adapt KLIEP (CV)": lambda: adapt("KLIEP", kernel="rbf", gamma=GRID),
    "adapt ULSIF (CV)": lambda: adapt("ULSIF", kernel="rbf", gamma=GRID, lambdas=[0.1, 1, 10]),
    "adapt RULSIF (CV)": lambda: adapt("RULSIF", kernel="rbf", gamma=GRID, lambdas=[0.1, 1, 10]),
    "adapt NearestNeighbors": lambda: adapt("NearestNeighborsWeighting"),
    "adapt CORAL": lambda: adapt("CORAL"),
    "adapt SubspaceAlignment": lambda: adapt("SA", n_components=5),
    "adapt TCA": lambda: adapt("TCA", n_components=5),
    "densratio uLSIF (CV)": lambda: densratio(alpha=0),
    "densratio RuLSIF (CV)": lambda: densratio(alpha=0.1),
}


def quality(weights: np.ndarray, Xs: np.ndarray, Xt: np.ndarray) -> dict[str, float]:
    """How near weights are to the ratio, and for KMM the height of its objective."""
    truth = log_ratio(Xs)
    if not np.isfinite(weights).all():
        return {"not_finite": float((~np.isfinite(weights)).mean())}
    w = weights / weights.mean()
    found = {
        "correlation": float(np.corrcoef(w, np.exp(truth))[0, 1]),
        "log_correlation": float(np.corrcoef(np.log(np.maximum(w, 1e-3)), truth)[0, 1]),
        "effective": float(w.sum() ** 2 / np.square(w).sum() / len(w)),
        "zeros": float((w == 0).mean()),
    }
    if len(Xs) <= 10_000:
        found["objective"] = mean_matching_objective(w, Xs, Xt)
    return found


def mean_matching_objective(w: np.ndarray, Xs: np.ndarray, Xt: np.ndarray) -> float:
    """1/2 b'Kb / n^2 - kappa'b / n with the exact kernel, in blocks."""
    total = 0.0
    for i in range(0, len(Xs), 500):
        for other, weight, part in ((Xs, w, 0.5), (Xt, np.ones(len(Xt)), -1.0)):
            cross = Xs[i : i + 500] @ other.T
            squared = np.square(Xs[i : i + 500]).sum(1)[:, None] + np.square(other).sum(1)
            kernel = np.exp(-GAMMA * np.maximum(squared - 2 * cross, 0))
            total += part * (w[i : i + 500] @ kernel @ weight) / (len(Xs) * len(other))
    return float(total)


def main() -> None:
    name, n = sys.argv[1], int(sys.argv[2])
    warnings.simplefilter("ignore")
    fit = CASES[name]()
    fit(*draw(200, 1))  # what is imported or compiled on first use is not counted
    data = draw(n, 0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    weights = fit(*data)
    seconds = time.process_time() - start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    row: dict[str, object] = {"seconds": seconds, "MB": grown}
    if weights is not None:
        row |= quality(np.asarray(weights, dtype=float).ravel(), data[0], data[2])
    print("\n" + json.dumps(row))


if __name__ == "__main__":
    main()
