"""Agree with one's own moving average on the target (mean teacher)."""

from __future__ import annotations

import os
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar, cast

from sklearn.utils._param_validation import Interval

from shiftlab.adapter import Facts
from shiftlab.deep_adapter import DeepAdapter, deep_facts

if TYPE_CHECKING:
    from torch import Tensor

    from shiftlab.deep import BlockNet
    from shiftlab.deep.adaptation import Context, Method, Step

__all__ = ["SelfEnsembling"]


class SelfEnsembling(DeepAdapter):
    r"""Train a network that agrees on the target with the moving average of its own weights.

    .. math:: \min_w \mathrm{CE}_S(w) + \lambda_p \frac1m \sum_{i:\, \max_c q_i(c) \ge \tau}
              \lVert p_w(a(x_i)) - q_i \rVert^2

    where the teacher's q are of the same rows, changed at random another time, and rows on which
    it is not sure are left out. The teacher predicts in the end. The weight rises as in
    `DANN`.

    It helps where random changes of a row keep its class and cross the domains; without
    them, on tables, it does little. It harms where the first sure predictions are wrong.

    Parameters
    ----------
    <backbone of every deep adapter>
    weight : float, default=3.0
        Highest weight of the agreement.
    confidence : float, default=0.9
        Probability from which the teacher is sure, tau.
    decay : float, default=0.99
        Of the moving average, a step.
    <parameters of every deep adapter>

    Attributes
    ----------
    <attributes of every deep adapter>

    See Also
    --------
    DeepAdapt : Labels in place of probabilities, and class shares that are held.

    References
    ----------
    G. French, M. Mackiewicz, M. Fisher. Self-ensembling for visual domain adaptation. ICLR, 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab import SelfEnsembling
    >>> rng = np.random.default_rng(0)
    >>> y = np.tile([0, 1], 100)
    >>> X = np.column_stack([4.0 * y, np.zeros(200)]) + rng.normal(size=(200, 2))
    >>> model = SelfEnsembling(epochs=5, random_state=0, device="cpu").fit((X, y), X + [1.0, 0.0])
    >>> float(model.score(X + [1.0, 0.0], y)) >= 0.9
    True
    """

    facts: ClassVar[Facts] = deep_facts(
        "Random changes of a row keep its class, and sure predictions are mostly right."
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **DeepAdapter._parameter_constraints,
        "weight": [Interval(Real, 0, None, closed="left")],
        "confidence": [Interval(Real, 0, 1, closed="both")],
        "decay": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(
        self,
        backbone: Any = "auto",
        *,
        weight: float = 3.0,
        confidence: float = 0.9,
        decay: float = 0.99,
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
        self.weight = weight
        self.confidence = confidence
        self.decay = decay

    def _method(self, context: Context) -> Method:
        from shiftlab.deep.adaptation import Method
        from shiftlab.deep.averages import MovingAverage
        from shiftlab.deep.losses import ramp

        teacher = MovingAverage(context.net, self.decay)

        def loss(step: Step) -> Tensor:
            out = step.outputs()
            wanted = step.scores(step.augment(step.target), teacher).softmax(dim=1)
            sure = wanted.max(dim=1).values >= self.confidence
            apart = (out.target_scores.softmax(dim=1) - wanted).square().sum(dim=1)
            agreement = self.weight * ramp(step.progress) * (apart * sure).mean()
            return step.cross_entropy(out.source_scores) + agreement

        return Method(
            loss,
            companions={"teacher": teacher},
            after_step=lambda: teacher.update(context.net),
            predictor=cast("BlockNet", teacher.net),
        )
