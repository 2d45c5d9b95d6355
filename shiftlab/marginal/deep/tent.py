"""Lower the entropy of target predictions through the scales of batch norm (TENT)."""

from __future__ import annotations

import os
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar

from sklearn.utils._param_validation import Interval

from shiftlab.adapter import Facts
from shiftlab.deep_adapter import DeepAdapter, deep_facts

if TYPE_CHECKING:
    from torch import Tensor

    from shiftlab.deep.adaptation import Context, Method, Step

__all__ = ["TENT"]


class TENT(DeepAdapter):
    r"""Let the batch norm of a trained network learn from the target to be sure.

    .. math:: \min_{\gamma, \beta} \frac1m \sum_i H(p_w(x_i)), \quad
              H(p) = -\sum_c p_c \log p_c

    over the scales and offsets of batch norm alone, with statistics of the target's batches. The
    source serves to train the network first; with ``backbone=trained, pretrain_epochs=0`` its
    rows never go through the network.

    It is the adapter for a network that is in use and whose training data are gone. It harms
    where the network is mostly wrong: what it guesses, it becomes sure of, and in the long run of
    one class. So `epochs` is small. The backbone must have batch norm.

    Parameters
    ----------
    <backbone of every deep adapter>
    pretrain_epochs : int, default=20
        Passes over the source before; with 0 the backbone must be trained already.
    epochs : int, default=1
        Passes over the target; an epoch has at least 20 steps.
    <parameters of every deep adapter but epochs>

    Attributes
    ----------
    <attributes of every deep adapter>

    See Also
    --------
    AdaBN : The statistics alone.
    SHOT : All features learn, and class shares are held.

    References
    ----------
    D. Wang, E. Shelhamer, S. Liu, B. Olshausen, T. Darrell. Tent: fully test-time adaptation by
    entropy minimization. ICLR, 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab import TENT
    >>> rng = np.random.default_rng(0)
    >>> y = np.tile([0, 1], 100)
    >>> X = np.column_stack([4.0 * y, np.zeros(200)]) + rng.normal(size=(200, 2))
    >>> model = TENT(pretrain_epochs=5, random_state=0, device="cpu").fit((X, y), X + [1.0, 0.0])
    >>> float(model.score(X + [1.0, 0.0], y)) > 0.9
    True
    """

    facts: ClassVar[Facts] = deep_facts(
        "The trained network is mostly right on the target; channels moved by themselves."
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **DeepAdapter._parameter_constraints,
        "pretrain_epochs": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(
        self,
        backbone: Any = "auto",
        *,
        pretrain_epochs: int = 20,
        epochs: int = 1,
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
        self.pretrain_epochs = pretrain_epochs

    def _method(self, context: Context) -> Method:
        from shiftlab.deep.adaptation import Method
        from shiftlab.deep.batch_norm import norm_layers
        from shiftlab.deep.losses import entropy

        layers = norm_layers(context.net, type(self).__name__)

        def loss(step: Step) -> Tensor:
            scores = step.scores(step.target)
            step.watch_target(scores)
            return entropy(scores).mean()

        return Method(loss, trained=[(layer, 1.0) for layer in layers], watches_source=False)
