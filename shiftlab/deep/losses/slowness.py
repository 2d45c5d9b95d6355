"""Temporal slowness: frames that follow each other are near, others are apart."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

__all__ = ["slowness"]


def slowness(now: Tensor, soon: Tensor, other: Tensor, margin: float = 1.0) -> Tensor:
    r"""Compute ``mean ||z - z'||^2 + mean max(0, margin - ||z - z''||)^2`` of unit features.

    Without the second part all features would be the same.

    Parameters
    ----------
    now : Tensor, shape (n, d)
        Features of frames; brought to length one, as the others are.
    soon : Tensor, shape (n, d)
        Of the frames that follow.
    other : Tensor, shape (n, d)
        Of frames of other films.
    margin : float, default=1.0
        Distance from which on frames are far enough apart.

    Returns
    -------
    Tensor, scalar

    References
    ----------
    H. Mobahi, R. Collobert, J. Weston. Deep learning from temporal coherence in video. ICML, 2009.

    Examples
    --------
    >>> import torch
    >>> a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    >>> slowness(a, a, b).item(), round(slowness(a, b, a).item(), 4)
    (0.0, 3.0)
    """
    z, near, far = (F.normalize(part, dim=1) for part in (now, soon, other))
    # The distance itself has no gradient at zero; a tiny number under the root gives it one.
    apart = ((z - far).square().sum(dim=1) + 1e-12).sqrt()
    return (z - near).square().sum(dim=1).mean() + F.relu(margin - apart).square().mean()
