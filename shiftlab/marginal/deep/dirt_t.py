"""Borders refined on the target alone, in small steps (DIRT-T)."""

from __future__ import annotations

import os
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, cast

from sklearn.utils._param_validation import Interval

from shiftlab.adapter import Facts
from shiftlab.deep_adapter import DeepAdapter, deep_facts
from shiftlab.marginal.deep.vada import target_smoothness, vada_method

if TYPE_CHECKING:
    from torch import Tensor

    from shiftlab.deep import BlockNet
    from shiftlab.deep.adaptation import Context, Method, Step

__all__ = ["DIRTT"]


class DIRTT(DeepAdapter):
    r"""Train by `VADA`, then move the borders of the classes out of the target's crowds.

    .. math:: \min_w H_T(w) + V_T(w) + \beta \, E_T\bigl[ \mathrm{KL}(p_{\bar w} \Vert p_w) \bigr]

    H is the entropy of predictions, V the virtual adversarial loss. The source has said what it
    can, and where the domains differ it holds the borders in the wrong place: the second part
    looks at the target alone, in steps that the moving average of the network keeps small.
    The average predicts in the end.

    It helps where classes are clusters in the target that `VADA` mostly reads right. Nothing but
    `beta` holds the class shares: with 1 in place of 10, whole classes pass into others where
    `VADA` reads a fifth of the rows wrongly.

    Parameters
    ----------
    <backbone of every deep adapter>
    pretrain_epochs : int, default=20
        Epochs of `VADA` before; with 0 the backbone must be trained already.
    domain_weight : float, default=0.3
        As in `VADA`.
    source_weight : float, default=0.3
        As in `VADA`.
    target_weight : float, default=0.02
        As in `VADA`, in the first part.
    radius : float, default=0.1
        As in `VADA`.
    beta : float, default=10.0
        Weight of staying where the moving average is.
    decay : float, default=0.995
        Of the moving average, a step.
    epochs : int, default=20
        Passes over the target after that; an epoch has at least 20 steps.
    <parameters of every deep adapter but epochs>

    Attributes
    ----------
    <attributes of every deep adapter>

    See Also
    --------
    VADA : The first part.
    SHOT : A trained network and no source, by labels.

    References
    ----------
    R. Shu, H. Bui, H. Narui, S. Ermon. A DIRT-T approach to unsupervised domain adaptation. ICLR,
    2018.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab import DIRTT
    >>> rng = np.random.default_rng(0)
    >>> y = np.tile([0, 1], 100)
    >>> X = np.column_stack([4.0 * y, np.zeros(200)]) + rng.normal(size=(200, 2))
    >>> model = DIRTT(epochs=5, pretrain_epochs=5, random_state=0, device="cpu")
    >>> model = model.fit((X, y), X + [1.0, 0.0])
    >>> float(model.score(X + [1.0, 0.0], y)) > 0.9
    True
    """

    facts: ClassVar[Facts] = deep_facts(
        "Classes are clusters in the target, and most rows of each are read right at first."
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **DeepAdapter._parameter_constraints,
        "pretrain_epochs": [Interval(Integral, 0, None, closed="left")],
        "domain_weight": [Interval(Real, 0, None, closed="left")],
        "source_weight": [Interval(Real, 0, None, closed="left")],
        "target_weight": [Interval(Real, 0, None, closed="left")],
        "radius": [Interval(Real, 0, None, closed="left")],
        "beta": [Interval(Real, 0, None, closed="left")],
        "decay": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(
        self,
        backbone: Any = "auto",
        *,
        pretrain_epochs: int = 20,
        domain_weight: float = 0.3,
        source_weight: float = 0.3,
        target_weight: float = 0.02,
        radius: float = 0.1,
        beta: float = 10.0,
        decay: float = 0.995,
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
        self.pretrain_epochs = pretrain_epochs
        self.domain_weight = domain_weight
        self.source_weight = source_weight
        self.target_weight = target_weight
        self.radius = radius
        self.beta = beta
        self.decay = decay

    def _first_method(self, context: Context) -> Method:
        return vada_method(
            context, self.domain_weight, self.source_weight, self.target_weight, self.radius
        )

    def _method(self, context: Context) -> Method:
        from torch.nn import functional as F

        from shiftlab.deep.adaptation import Method
        from shiftlab.deep.averages import MovingAverage

        teacher = MovingAverage(context.net, self.decay)

        def loss(step: Step) -> Tensor:
            batch = step.augment(step.target)
            scores = step.scores(batch)
            step.watch_target(scores)
            wanted = step.scores(batch, teacher).softmax(dim=1)
            moved = F.kl_div(scores.log_softmax(dim=1), wanted, reduction="batchmean")
            return target_smoothness(step, batch, scores, self.radius) + self.beta * moved

        return Method(
            loss,
            companions={"teacher": teacher},
            after_step=lambda: teacher.update(context.net),
            predictor=cast("BlockNet", teacher.net),
            watches_source=False,
        )
