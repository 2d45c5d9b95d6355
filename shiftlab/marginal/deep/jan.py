"""Bring the joint distribution of features and predictions together by kernels (JAN)."""

from __future__ import annotations

import os
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar

from sklearn.utils._param_validation import Interval

from shiftlab.adapter import Facts
from shiftlab.deep_adapter import DeepAdapter, deep_facts

if TYPE_CHECKING:
    from torch import Tensor

    from shiftlab.deep.adaptation import Context, Method, Step

__all__ = ["JAN"]


class JAN(DeepAdapter):
    r"""Train a network whose features and class probabilities together have one distribution.

    .. math:: \min_w \mathrm{CE}_S(w) + \lambda_p \, \mathrm{JMMD}^2\bigl((f, p)_S, (f, p)_T\bigr)

    where the kernel of a pair is the product of the kernels of features and of probabilities:
    features are compared between rows of like prediction. The weight rises as in `DAN`.

    It helps where P(X) given the class moved and predictions are not far off. A batch is a
    small sample: O(b^2) time a step.

    Parameters
    ----------
    <backbone of every deep adapter>
    weight : float, default=1.0
        Highest weight of the distance.
    <parameters of every deep adapter>

    Attributes
    ----------
    <attributes of every deep adapter>

    See Also
    --------
    DAN : Features alone.
    CDAN : A classifier in place of kernels.

    References
    ----------
    M. Long, H. Zhu, J. Wang, M. Jordan. Deep transfer learning with joint adaptation networks.
    ICML, 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab import JAN
    >>> rng = np.random.default_rng(0)
    >>> y = np.tile([0, 1], 100)
    >>> X = np.column_stack([4.0 * y, np.zeros(200)]) + rng.normal(size=(200, 2))
    >>> model = JAN(epochs=5, random_state=0, device="cpu").fit((X, y), X + [1.0, 0.0])
    >>> float(model.score(X + [1.0, 0.0], y)) > 0.9
    True
    """

    facts: ClassVar[Facts] = deep_facts(
        "Features and classes together have one distribution in some representation."
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **DeepAdapter._parameter_constraints,
        "weight": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        backbone: Any = "auto",
        *,
        weight: float = 1.0,
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

    def _method(self, context: Context) -> Method:
        from shiftlab.deep.adaptation import Method
        from shiftlab.deep.losses import joint_mmd, ramp

        def loss(step: Step) -> Tensor:
            out = step.outputs()
            distance = joint_mmd(
                [out.source_features, out.source_scores.softmax(dim=1)],
                [out.target_features, out.target_scores.softmax(dim=1)],
            )
            weighted = self.weight * ramp(step.progress) * distance
            return step.cross_entropy(out.source_scores) + weighted

        return Method(loss)
