"""Margin disparity discrepancy (MDD)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["margin_disparity"]


def margin_disparity(
    source: Tensor,
    source_adversary: Tensor,
    target: Tensor,
    target_adversary: Tensor,
    margin: float = 4.0,
) -> Tensor:
    r"""Compute how badly an adversary tells source from target by agreeing with a classifier.

    ``margin * E_S[-log p'(h(x))] - E_T[log(1 - p'(h(x)))]``, where h(x) is the classifier's class
    and p' the adversary's probabilities. The adversary lowers it, features raise it.

    Parameters
    ----------
    source, target : Tensor, shape (n, k), (m, k)
        Class scores of the classifier; only their largest entry matters.
    source_adversary, target_adversary : Tensor, shape (n, k), (m, k)
        Class scores of the adversary.
    margin : float, default=4.0
        The factor gamma, the exponential of the margin.

    Returns
    -------
    Tensor, scalar

    References
    ----------
    Y. Zhang, T. Liu, M. Long, M. Jordan. Bridging theory and algorithm for domain adaptation.
    ICML, 2019.

    Examples
    --------
    >>> flat = torch.zeros(1, 2)
    >>> round(margin_disparity(flat, flat, flat, flat, margin=1.0).item(), 4)
    1.3863
    """
    agrees = F.cross_entropy(source_adversary, source.argmax(dim=1))
    log_p = F.log_softmax(target_adversary, dim=1)
    chosen = target.argmax(dim=1, keepdim=True)
    # log(1 - p_c) as the log of the sum of the others, which keeps its gradient at p_c near 1.
    others = log_p.scatter(1, chosen, float("-inf"))
    return margin * agrees - torch.logsumexp(others, dim=1).mean()
