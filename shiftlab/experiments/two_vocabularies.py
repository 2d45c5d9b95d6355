"""The study of texts: reviews in two vocabularies, and reviews of other products.

Run ``python -m shiftlab.experiments.two_vocabularies`` in a clone; it rewrites ``results.csv`` and
the tables in the README of ``experiments/two_vocabularies``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, permutations
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression

from shiftlab.adapter import Adapter
from shiftlab.domain import Domain
from shiftlab.experiments.script import collect_rows, read_settings, study_parser, write_study
from shiftlab.experiments.seeds import derive_seed
from shiftlab.feature_space.cross_lingual_lsa import CrossLingualLSA
from shiftlab.feature_space.dictionary_map import DictionaryMap
from shiftlab.feature_space.embedding_map import EmbeddingMap
from shiftlab.marginal.alignment.structural_correspondence import StructuralCorrespondence

__all__ = ["main", "run_topics", "run_two_vocabularies", "two_vocabularies_block"]

FIELDS = ("table", "draw", "method", "source", "accuracy")
LANGUAGES, TOPICS = "two vocabularies", "topics"
ALONE, SAME = "labelled target rows alone", "source alone, in one vocabulary"
CONTROLS = ("real", "noise", "shuffled labels", "false bridge")
PLAIN, PIVOTS, RANDOM = "source alone", "StructuralCorrespondence", "random pivots"


def _model() -> LogisticRegression:
    return LogisticRegression(max_iter=1000)


def _weighted(*texts: Any) -> list[Any]:
    """Tf-idf of one language, with the document frequencies of the first."""
    weights = TfidfTransformer(sublinear_tf=True).fit(texts[0])
    return [weights.transform(X) for X in texts]


def _noise(X: Any, rng: np.random.Generator) -> Any:
    """The same words as often, in texts at random."""
    entries = sp.coo_matrix(X)
    at = rng.integers(0, X.shape[0], entries.nnz), entries.col
    return sp.csr_matrix((entries.data, at), shape=X.shape)


def _word_vectors(X: Any, k: int, seed: int) -> NDArray[np.float64]:
    """Vectors of the words of one language, from its own texts alone."""
    svd = TruncatedSVD(k, random_state=seed).fit(X)
    return np.asarray(svd.components_.T * svd.singular_values_)


def run_two_vocabularies(
    settings: Mapping[str, Any], *, root: str | os.PathLike[str] | None = None
) -> Iterator[dict[str, Any]]:
    """Score every bridge between two vocabularies, and the controls.

    Parameters
    ----------
    settings : mapping
        As in ``experiments/two_vocabularies/config.toml``.
    root : path or None, default=None
        Folder of the reviews; None is what ``SHIFTLAB_DATA`` names.

    Yields
    ------
    dict
        A row of ``results.csv``.
    """
    from shiftlab.data import change_vocabulary, load_amazon_reviews

    source = load_amazon_reviews(settings["source"], 0, root=root)
    parallel = load_amazon_reviews(settings["parallel"], 0, root=root)
    target = load_amazon_reviews(settings["target"], 0, root=root)
    rest = load_amazon_reviews(settings["target"], 1, root=root)
    for k in range(int(settings["draws"])):
        seed = derive_seed("two vocabularies", k) % 2**32
        rng = np.random.default_rng(seed)
        test = rest.take(rng.permutation(len(rest))[: int(settings["n_test"])])
        (Z, words), (T, _), (B, _) = (
            change_vocabulary(texts, random_state=seed) for texts in (target, test, parallel)
        )
        y, w = source.y, target.y
        assert y is not None
        assert w is not None
        known = np.zeros(len(target), dtype=bool)
        for label in (0, 1):
            known[rng.permutation(np.flatnonzero(w == label))[: int(settings["labels"])]] = True
        X, A, U = _weighted(source.X, parallel.X, test.X)
        Zt, Bt, Tt = _weighted(Z.X, B.X, T.X)
        row = {"table": LANGUAGES, "draw": k}
        given = Domain(Zt, w, labelled=known)
        alone = _model().fit(Zt[known], w[known]).score(Tt, test.y)
        yield {**row, "method": ALONE, "source": "none", "accuracy": f"{alone:.4f}"}
        same = _model().fit(X, y).score(U, test.y)
        yield {**row, "method": SAME, "source": "none", "accuracy": f"{same:.4f}"}
        often = np.argsort(-np.asarray(Z.X.sum(axis=0)).ravel(), kind="stable")
        few = {j: words[j] for j in often.tolist() if j in words}
        few = dict(list(few.items())[: int(settings["seed_words"])])
        V, W = (_word_vectors(m, int(settings["dimensions"]), seed) for m in (X, Zt))
        sources = {
            "real": (X, A, y, words, few, W),
            "noise": (_noise(X, rng), _noise(A, rng), y, words, few, W),
            "shuffled labels": (X, A, rng.permutation(y), words, few, W),
            "false bridge": (X, _shuffled(A, rng), y, *_false(words, few, rng), W),
        }
        for name, (rows, pairs, labels, longer, shorter, vectors) in sources.items():
            adapters: dict[str, Adapter] = {
                "DictionaryMap, all words": DictionaryMap(_model(), dictionary=longer),
                f"DictionaryMap, {len(few)} words": DictionaryMap(_model(), dictionary=shorter),
                f"EmbeddingMap, {len(few)} words": EmbeddingMap(
                    _model(), source_vectors=V, target_vectors=vectors, dictionary=shorter
                ),
                f"CrossLingualLSA, {len(parallel)} texts": CrossLingualLSA(
                    _model(),
                    paired=(pairs, Bt),
                    n_components=int(settings["dimensions"]),
                    random_state=seed,
                ),
            }
            for method, adapter in adapters.items():
                score = adapter.fit((rows, labels), given).score(Tt, test.y)
                yield {**row, "method": method, "source": name, "accuracy": f"{score:.4f}"}


def _shuffled(A: Any, rng: np.random.Generator) -> Any:
    return A[rng.permutation(A.shape[0])]


def _false(
    words: Mapping[int, Any], few: Mapping[int, Any], rng: np.random.Generator
) -> list[dict[int, Any]]:
    """Dictionaries that give each word the meaning of another."""
    return [
        dict(zip(d, [list(d.values())[k] for k in rng.permutation(len(d))], strict=True))
        for d in (words, few)
    ]


def run_topics(
    settings: Mapping[str, Any], *, root: str | os.PathLike[str] | None = None
) -> Iterator[dict[str, Any]]:
    """Score pivots between all pairs of topics, beside pivots that say nothing.

    Parameters
    ----------
    settings : mapping
        As in ``experiments/two_vocabularies/config.toml``.
    root : path or None, default=None
        Folder of the reviews; None is what ``SHIFTLAB_DATA`` names.

    Yields
    ------
    dict
        A row of ``results.csv``; ``draw`` is the pair.
    """
    from shiftlab.data import AMAZON_REVIEWS, load_amazon_reviews

    reviews = {name: load_amazon_reviews(name, root=root) for name in AMAZON_REVIEWS}
    for ours, theirs in permutations(AMAZON_REVIEWS, 2):
        a, b = reviews[ours], reviews[theirs]
        assert a.group is not None
        assert b.group is not None
        source, target = a.take(a.group == 0), b.take(b.group == 0)
        test = b.take(np.flatnonzero(b.group == 1)[: int(settings["n_test"])])
        both = sp.vstack([source.X, target.X])
        _, X, Z, T = _weighted(both, source.X, target.X, test.X)
        y = source.y
        assert y is not None
        rng = np.random.default_rng(derive_seed("topics", ours, theirs))
        by_pivots = StructuralCorrespondence(_model()).fit((X, y), Z)
        blind = StructuralCorrespondence().fit((X, rng.permutation(y)), Z)
        scores = {
            PLAIN: _model().fit(X, y).score(T, test.y),
            PIVOTS: by_pivots.score(T, test.y),
            RANDOM: _model().fit(blind.transform(X), y).score(blind.transform(T), test.y),
        }
        for method, score in scores.items():
            yield {
                "table": TOPICS,
                "draw": f"{ours} to {theirs}",
                "method": method,
                "source": "real",
                "accuracy": f"{score:.4f}",
            }


def two_vocabularies_block(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write the results as Markdown tables.

    Parameters
    ----------
    rows : sequence of mapping
        Rows of ``results.csv``.

    Returns
    -------
    str
    """

    def values(method: str, source: str) -> NDArray[np.float64]:
        return np.array(
            [float(r["accuracy"]) for r in rows if (r["method"], r["source"]) == (method, source)]
        )

    alone, same = values(ALONE, "none"), values(SAME, "none")
    lines = [
        f"**Two vocabularies**, {len(alone)} draws. Labelled target rows alone: "
        f"{alone.mean():.1%}; the source alone, were there one vocabulary: {same.mean():.1%}.",
        "",
        "| method | real | over target alone | noise source | shuffled labels | false bridge | "
        "over the best of these | helps |",
        "|---|---|---|---|---|---|---|---|",
    ]
    here = [r for r in rows if r["table"] == LANGUAGES and r["source"] == "real"]
    for method in dict.fromkeys(r["method"] for r in here):
        found = {source: values(method, source) for source in CONTROLS}
        best = max((found[s] for s in CONTROLS[1:]), key=lambda v: float(v.mean()))
        gains = [_difference(found["real"], other) for other in (alone, best)]
        helps = "yes" if all(mean > error for mean, error in gains) else "no"
        cells = [f"{100 * mean:+.1f} ± {100 * error:.1f}" for mean, error in gains]
        means = [f"{found[s].mean():.1%}" for s in CONTROLS]
        lines.append(
            f"| {method} | {means[0]} | {cells[0]} | {' | '.join(means[1:])} | {cells[1]} | "
            f"{helps} |"
        )
    methods = (PLAIN, PIVOTS, RANDOM)
    found = {method: values(method, "real") for method in methods}
    lines += ["", f"**Topics**, {len(found[PLAIN])} pairs, one vocabulary.", ""]
    lines += [f"| pair | {' | '.join(methods)} |", "|---|---|---|---|"]
    pairs = dict.fromkeys(r["draw"] for r in rows if r["table"] == TOPICS)
    for k, pair in enumerate(pairs):
        lines.append(f"| {pair} | " + " | ".join(f"{found[m][k]:.1%}" for m in methods) + " |")
    lines.append("| mean | " + " | ".join(f"{found[m].mean():.1%}" for m in methods) + " |")
    for other in (PLAIN, RANDOM):
        mean, error = _difference(found[PIVOTS], found[other])
        lines += ["", f"Pivots over {other}: {100 * mean:+.1f} ± {100 * error:.1f} points."]
    return "\n".join(lines)


def _difference(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, float]:
    """Mean of the paired differences, and two standard errors of it."""
    gap = a - b
    return float(gap.mean()), float(2 * gap.std(ddof=1) / np.sqrt(len(gap)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the study and rewrite its folder.

    Parameters
    ----------
    arguments : sequence of str, default=None
        ``--folder`` and ``--root``; None reads them from the process.
    """
    given = study_parser("two_vocabularies", data="the reviews").parse_args(arguments)
    settings = read_settings(given.folder)
    parts = (run(settings, root=given.root) for run in (run_two_vocabularies, run_topics))
    rows = collect_rows(chain.from_iterable(parts))
    write_study(given.folder, FIELDS, rows, two_vocabularies_block(rows))


if __name__ == "__main__":
    main()
