"""Give batch norm the statistics of the target (AdaBN)."""

from __future__ import annotations

import os
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar

from sklearn.utils._param_validation import Interval

from shiftlab.adapter import Facts
from shiftlab.deep_adapter import DeepAdapter, deep_facts

if TYPE_CHECKING:
    from shiftlab.deep.adaptation import Context, Method

__all__ = ["AdaBN"]

_BATCH = 512


class AdaBN(DeepAdapter):
    r"""Train a network on the source and give its batch norm the target's means and variances.

    .. math:: \hat f(x) = f_w(x; \mu_T, \sigma_T^2), \quad w = \arg\min_w \mathrm{CE}_S(w)

    Every layer of batch norm brings each channel to mean 0 and variance 1 by the statistics of
    the domain at hand, which takes out differences of brightness, contrast and colour, channel by
    channel and at every depth. No weight learns from the target.

    It helps where each channel moved and stretched on its own, and costs one pass over the
    target. It harms where the classes have other shares in the target: their difference is in the
    means, too. The backbone must have batch norm. With ``backbone=trained, epochs=0`` the source's
    rows never go through the network.

    Parameters
    ----------
    <backbone of every deep adapter>
    epochs : int, default=20
        Passes over the source before; with 0 the backbone must be trained already.
    <parameters of every deep adapter but epochs>

    Attributes
    ----------
    <attributes of every deep adapter>

    See Also
    --------
    TENT : The same, and the norms' weights learn from the target.
    CORAL : Covariances, on the features of any network.

    References
    ----------
    Y. Li, N. Wang, J. Shi, J. Liu, X. Hou. Revisiting batch normalization for practical domain
    adaptation. arXiv:1603.04779, 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab import AdaBN
    >>> rng = np.random.default_rng(0)
    >>> y = np.tile([0, 1], 100)
    >>> X = np.column_stack([4.0 * y, np.zeros(200)]) + rng.normal(size=(200, 2))
    >>> model = AdaBN(epochs=5, random_state=0, device="cpu").fit((X, y), X + [1.0, 0.0])
    >>> float(model.score(X + [1.0, 0.0], y)) > 0.9
    True
    """

    facts: ClassVar[Facts] = deep_facts(
        "Each channel of the network moved and stretched by itself; class shares are equal."
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **DeepAdapter._parameter_constraints,
        "epochs": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(
        self,
        backbone: Any = "auto",
        *,
        epochs: int = 20,
        batch_size: int = 64,
        learning_rate: float = 3e-3,
        augmentation: Any = "auto",
        checkpoint: str | os.PathLike[str] | None = None,
        device: str = "auto",
        random_state: Any = None,
        progress: bool = False,
    ) -> None:
        super().__init__(
            backbone,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            augmentation=augmentation,
            checkpoint=checkpoint,
            device=device,
            random_state=random_state,
            progress=progress,
        )

    def _method(self, context: Context) -> Method:
        import torch

        from shiftlab.deep.adaptation import Method, source_loss
        from shiftlab.deep.batch_norm import norm_layers, set_statistics

        who = type(self).__name__
        norm_layers(context.net, who)

        def after_epoch(done: float) -> None:
            if done < 1.0:
                return
            rows = torch.arange(len(context.target), device=context.target.pixels.device)
            n_batches = -(-len(rows) // _BATCH)
            batches = (context.target.batch(index) for index in torch.chunk(rows, n_batches))
            set_statistics(context.net, batches, who)

        return Method(source_loss, after_epoch=after_epoch)
