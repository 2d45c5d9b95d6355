"""Labels of target rows by the nearest of the classes' centroids (SHOT)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["centroid_labels"]


def centroid_labels(features: Tensor, probabilities: Tensor, rounds: int = 1) -> Tensor:
    """Label each row by the class whose mean direction is nearest to its own.

    The centroid of a class is the mean of the features weighted by the class's probability,
    ``m_c = sum_i p_ic f_i / sum_i p_ic``; each row gets the class of the largest cosine. In each
    further round the labels stand in for the probabilities. A class that is nobody's most
    probable one has no centroid.

    Parameters
    ----------
    features : Tensor, shape (n, f)
    probabilities : Tensor, shape (n, k)
    rounds : int, default=1
        How often the centroids are computed again from labels.

    Returns
    -------
    Tensor of int64, shape (n,)

    References
    ----------
    J. Liang, D. Hu, J. Feng. Do we really need to access the source data? Source hypothesis
    transfer for unsupervised domain adaptation. ICML, 2020.

    Examples
    --------
    >>> f = torch.tensor([[1.0, 0.1], [1.0, 0.0], [0.0, 1.0]])
    >>> p = torch.tensor([[0.4, 0.6], [0.9, 0.1], [0.1, 0.9]])
    >>> centroid_labels(f, p).tolist()
    [0, 0, 1]
    """
    # A one beside the features, as the published method has it: directions of rows near the
    # origin mean little.
    rows = F.normalize(torch.cat([features, torch.ones_like(features[:, :1])], dim=1), dim=1)
    n_classes = probabilities.shape[1]
    weights, labels = probabilities, probabilities.argmax(dim=1)
    for _ in range(rounds + 1):
        occurs = torch.bincount(labels, minlength=n_classes) > 0
        centroids = weights.T @ rows / weights.sum(dim=0).clamp_min(1e-12)[:, None]
        cosine = rows @ F.normalize(centroids, dim=1).T
        labels = cosine.masked_fill(~occurs, -torch.inf).argmax(dim=1)
        weights = F.one_hot(labels, n_classes).to(rows)
    return labels
