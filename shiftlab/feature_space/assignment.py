"""Match the columns of two tables one to one by distribution, dependence and name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from shiftlab.feature_space.matching import has_words, name_similarity
from shiftlab.feature_space.profiles import Profiles
from shiftlab.feature_space.units import conversion_by_name, known_factors

__all__ = ["match_by_content", "match_energy", "soft_assignment"]

Floats = NDArray[np.float64]

# Energies are minus logarithms of how likely a difference is between a column and itself.
NAME = 6.0  # what equal words in two names are worth
UNLIKE = 4.0  # what two names without a word in common cost
KNOWN_UNIT, ANY_FACTOR, ANY_LINE, RECODED = 0.5, 2.0, 3.0, 1.0  # what a change costs
SHIFT = 0.06  # a difference of distributions or dependences that a real drift may make
CAP = 9.0  # one dependence that does not fit counts at most so much
MOST = 60.0  # and one distribution
WITNESSES = 20.0  # as how many independent witnesses the other columns count, at most
OPEN = 10.0  # energy above which a pair is no match
CERTAIN, ANYTHING = -50.0, 400.0
ROUNDS = 30
SWEEPS = 100
SHARPEN = 1.5  # set so that of the pairs of probability 0.75 and more 99 in 100 are right


def match_energy(source: Profiles, target: Profiles, *, named: bool = True) -> Floats:
    """Energy of every pair by names and distributions, up to units and recoding.

    Parameters
    ----------
    source, target : Profiles
        Of the two tables.
    named : bool, default=True
        Whether the names say anything.

    Returns
    -------
    ndarray of shape (d_source, d_target)
        Half the squared difference of the distributions in units of what is usual between two
        samples and a mild drift, plus what a change of unit or encoding costs, minus what is
        alike in the names.
    """
    d, e = len(source.columns), len(target.columns)
    energy = np.full((d, e), np.inf)
    factors = known_factors()
    for i, mine in enumerate(source.columns):
        energy[i] = [_by_levels(source, i, target, j) for j in range(e)]
        if not mine.numeric or not len(mine.values):
            continue
        many = [j for j, c in enumerate(target.columns) if c.numeric and len(c.values)]
        if not many:
            continue
        Q = target.quantiles[many]
        noise = np.array(
            [0.87 * np.sqrt(1 / len(mine.values) + 1 / len(target.columns[j].values)) for j in many]
        )
        q = source.quantiles[i]
        ours = [target.columns[j].values for j in many]
        best = np.full(len(many), np.inf)
        spelled = [conversion_by_name(mine.name, target.columns[j].name) for j in many]
        for slope, offset, cost in _maps(q, Q, factors):
            gap = _gaps(mine.values, slope[:, None] * Q + offset[:, None], ours, Q)
            fit = 0.5 * np.minimum((gap / (noise + SHIFT)) ** 2, MOST) + cost
            best = np.minimum(best, fit)
        for k, unit in enumerate(spelled if named else []):
            if unit is not None:  # what the names say goes before any other map
                line = (unit.factor * Q[[k]] + unit.offset), [ours[k]], Q[[k]]
                gap = _gaps(mine.values, *line)
                best[k] = 0.5 * min(float(gap[0] / (noise[k] + SHIFT)) ** 2, MOST)
        energy[i, many] = np.minimum(energy[i, many], best)
    if not named:
        return energy
    for i, a in enumerate(source.columns):
        for j, b in enumerate(target.columns):
            alike = name_similarity(a.name, b.name)
            energy[i, j] -= NAME * alike
            if alike == 0 and has_words(a.name) and has_words(b.name):
                energy[i, j] += UNLIKE
    return energy


def _maps(q: Floats, Q: Floats, factors: Floats) -> list[tuple[Floats, Floats, Floats]]:
    """Candidates for ``source = slope * target + offset``, and what each costs."""
    k = len(Q)
    ones, zeros = np.ones(k), np.zeros(k)
    square = np.maximum((Q * Q).sum(axis=1), 1e-300)
    ratio = np.where((Q @ q) > 0, (Q @ q) / square, 1.0)
    near = factors[np.abs(np.log(factors[None, :] / ratio[:, None])).argmin(axis=1)]
    known = np.abs(np.log(near / ratio)) < 0.15
    centred = Q - Q.mean(axis=1, keepdims=True)
    spread = np.maximum((centred**2).sum(axis=1), 1e-300)
    slope = (centred @ (q - q.mean())) / spread
    slope = np.where(slope > 0, slope, 1.0)
    return [
        (ones, zeros, zeros),
        (np.where(known, near, 1.0), zeros, np.full(k, KNOWN_UNIT)),
        (ratio, zeros, np.full(k, ANY_FACTOR)),
        (slope, q.mean() - slope * Q.mean(axis=1), np.full(k, ANY_LINE)),
    ]


def _gaps(values: Floats, mapped: Floats, theirs: list[Floats], Q: Floats) -> Floats:
    """Largest difference of two distribution functions at the quantiles of the second."""
    slack = 1e-9 * np.abs(mapped)
    above = np.searchsorted(values, mapped + slack, "right") / len(values)
    below = np.searchsorted(values, mapped - slack, "left") / len(values)
    out = np.zeros(len(Q))
    for k, other in enumerate(theirs):
        tiny = 1e-9 * np.abs(Q[k])
        upper = np.searchsorted(other, Q[k] + tiny, "right") / len(other)
        lower = np.searchsorted(other, Q[k] - tiny, "left") / len(other)
        out[k] = max(np.abs(above[k] - upper).max(), np.abs(below[k] - lower).max())
    return out


def _by_levels(source: Profiles, i: int, target: Profiles, j: int) -> float:
    a, b = source.levels[i], target.levels[j]
    if a is None or b is None:
        return np.inf
    mine, theirs = source.columns[i], target.columns[j]
    noise = 0.5 * np.sqrt(max(len(a), len(b)) * (1 / source.n_rows + 1 / target.n_rows)) + SHIFT
    found = np.inf
    if not mine.numeric and not theirs.numeric:
        labels = mine.shares.keys() | theirs.shares.keys()
        gap = sum(abs(mine.shares.get(v, 0.0) - theirs.shares.get(v, 0.0)) for v in labels) / 2
        found = 0.5 * min((gap / noise) ** 2, MOST)
    k = max(len(a), len(b))
    x, y = (np.pad(np.sort(s)[::-1], (0, k - len(s))) for s in (a, b))
    gap = float(np.abs(x - y).sum()) / 2
    missing = 2 * abs(len(a) - len(b))
    recoded = 0.5 * min((gap / noise) ** 2, MOST) + RECODED + missing
    return float(min(found, recoded))


def match_by_content(
    source: Profiles,
    target: Profiles,
    known: list[tuple[int, int]],
    *,
    named: bool = True,
    left_out: Sequence[int] = (),
) -> tuple[list[tuple[int, int]], Floats]:
    """Find the assignment of least energy, and how sure each pair is.

    The energy of a pair is that of its names and distributions, plus that of its dependence on
    the other columns: of column i of the source and j of the target, for all pairs (k, l) that are
    matched so far, the differences between the dependence of i on k and that of j on l. Both are
    updated in turn, until the assignment stays.

    Parameters
    ----------
    source, target : Profiles
        Of the two tables.
    known : list of (int, int)
        Pairs that are known.
    named : bool, default=True
        Whether the names say anything.
    left_out : sequence of int, default=()
        Columns of the target that match nothing: a copy would halve the probability of the other.

    Returns
    -------
    tuple of (pairs, confidence)
        The assignment, and for every pair its probability against all other assignments and
        against no match, ``(d_source, d_target)``.
    """
    own = match_energy(source, target, named=named)
    for side, profiles in enumerate((source, target)):
        for k in np.flatnonzero(profiles.constant):
            own[(k, slice(None)) if side == 0 else (slice(None), k)] = np.inf
    own[:, list(left_out)] = np.inf
    for i, j in known:
        own[i, :], own[:, j] = np.inf, np.inf
        own[i, j] = CERTAIN
    S, T = source.dependence, target.dependence
    variance = 1 / source.n_rows + 1 / target.n_rows + SHIFT**2
    energy = own + _signature(S, T, variance)
    # At first no column may stay alone: while most pairs are wrong, all of them look bad.
    for open_energy in (ANYTHING, OPEN):
        pairs, confidence = soft_assignment(energy, open_energy)
        for _ in range(ROUNDS):
            before = pairs
            trust = np.array([confidence[i, j] for i, j in pairs])
            energy = own + _testimony(source, target, pairs, trust, variance)
            pairs, confidence = soft_assignment(energy, open_energy)
            if pairs == before:
                break
    return pairs, confidence


def soft_assignment(energy: Floats, open_energy: float) -> tuple[list[tuple[int, int]], Floats]:
    """Return the assignment of least energy, and the probability of each pair.

    Every row and every column may also stay alone, at ``open_energy / 2``. Probabilities are
    those of the mean field over all assignments: ``exp(-1.5 energy)``, scaled by Sinkhorn's
    iteration until rows and columns sum to one with what stays alone.

    Parameters
    ----------
    energy : ndarray of shape (d, e)
        May be infinite.
    open_energy : float
        Of a row and a column that stay alone.

    Returns
    -------
    tuple of (pairs, probability)

    Examples
    --------
    >>> import numpy as np
    >>> pairs, sure = soft_assignment(np.array([[0.0, 5.0], [5.0, 0.0], [0.1, 9.0]]), 8.0)
    >>> pairs, sure[1, 1] > 0.9, sure[0, 0] < 0.6
    ([(0, 0), (1, 1)], np.True_, np.True_)
    """
    d, e = energy.shape
    padded = np.zeros((d + e, d + e))
    padded[:d, :e] = np.minimum(energy, 1e6)
    padded[:d, e:] = padded[d:, :e] = open_energy / 2
    rows, columns = linear_sum_assignment(padded)
    both = zip(rows.tolist(), columns.tolist(), strict=True)
    pairs = [(i, j) for i, j in both if i < d and j < e]
    # scaled by the best of each row, so that nothing overflows or vanishes
    low = np.minimum(energy.min(axis=1), open_energy)  # of each row
    kernel = np.exp(-SHARPEN * (energy - low[:, None]))
    alone = np.exp(-SHARPEN * (open_energy / 2 - low))
    slack = float(np.exp(-SHARPEN * open_energy / 2))
    u, v = np.ones(d), np.ones(e)
    for _ in range(SWEEPS):
        u = 1 / (kernel @ v + alone)
        v = 1 / (u @ kernel + slack)
    return pairs, np.asarray(u[:, None] * kernel * v)


def _signature(S: Floats, T: Floats, variance: float) -> Floats:
    """Energy of the sorted strengths of dependence, which need no match of the others."""
    k = min(len(S), len(T), 20)
    levels = np.linspace(0, 1, max(k, 2))
    a = np.quantile(np.abs(S), levels, axis=1).T
    b = np.quantile(np.abs(T), levels, axis=1).T
    gap = ((a[:, None, :] - b[None, :, :]) ** 2).mean(axis=2)
    return np.asarray(0.5 * np.minimum(gap / variance, CAP) * min(k, 4))


def _testimony(
    source: Profiles,
    target: Profiles,
    pairs: list[tuple[int, int]],
    trust: Floats,
    variance: float,
) -> Floats:
    """Energy of the dependence on the columns that are matched so far."""
    S, T = source.dependence, target.dependence
    d, e = len(S), len(T)
    total, weight = np.zeros((d, e)), np.zeros((d, e))
    differ = source.few[:, None] != target.few[None, :]
    for (k, m), w in zip(pairs, trust, strict=True):
        a, b = S[:, k][:, None], T[:, m][None, :]
        # levels have no sign, so where only one side has levels strengths are compared
        unsigned = differ if source.few[k] == target.few[m] else True
        gap = np.where(unsigned, (np.abs(a) - np.abs(b)) ** 2, (a - b) ** 2)
        others = np.full((d, e), w)
        others[k, :] = others[:, m] = 0.0
        total += others * np.minimum(gap / variance, CAP)
        weight += others
    share = np.minimum(weight, WITNESSES) / np.maximum(weight, 1e-12)
    return np.asarray(0.5 * total * share)
