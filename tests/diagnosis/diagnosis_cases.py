"""Pairs of samples whose shift is known by construction."""

import numpy as np

DIRECTIONS = np.array([[np.cos(a), np.sin(a)] for a in (0, 2 * np.pi / 3, 4 * np.pi / 3)])


def draw(rng, n, *, move=0.0, turn=0.0, d=6):
    """X normal, Y in three classes by softmax of three directions in the first two columns."""
    X = rng.normal(size=(n, d))
    X[:, [0, d - 3]] += move
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    logits = 3 * X[:, :2] @ rotation @ DIRECTIONS.T
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    return X, (p.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)


def resampled(rng, n, prior, d=6):
    X, y = draw(rng, 8 * n, d=d)
    counts = rng.multinomial(n, prior)
    rows = np.concatenate([np.flatnonzero(y == k)[:c] for k, c in enumerate(counts)])
    return X[rows], y[rows]


def pair(kind, seed, n=1500, d=6):
    rng = np.random.default_rng(seed)
    source = draw(rng, n, d=d)
    if kind == "covariate":
        target = draw(rng, n, move=0.5, d=d)
    elif kind == "label":
        target = resampled(rng, n, [0.6, 0.25, 0.15], d=d)
    elif kind == "concept":
        target = draw(rng, n, turn=np.deg2rad(40), d=d)
    elif kind == "new class":
        target = draw(rng, n, d=d)
        new = rng.random(n) < 0.15
        target[0][new, 5] += 3
        target[1][new] = 3
    else:
        target = draw(rng, n, d=d)
    return source, target
