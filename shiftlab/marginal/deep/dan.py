"""Bring the distributions of learned features together by kernels (DAN)."""

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

__all__ = ["DAN"]


class DAN(DeepAdapter):
    r"""Train a network whose features have one distribution in both domains, as kernels see it.

    .. math:: \min_w \mathrm{CE}_S(w) + \lambda_p \, \mathrm{MMD}^2(f_w(X_S), f_w(X_T))

    with a mean of five Gaussian kernels whose widths follow the features, so that their scale is of
    no matter. ``lambda_p = weight * (2 / (1 + exp(-10 p)) - 1)`` rises with the part p of the
    training that is done. (The paper learns the kernels' weights and takes several layers; here
    it is the layer below the head.)

    It helps where the classes have about the same shares in both domains. Where they have not,
    equal features mean wrong labels. A batch is a small sample: O(b^2) time a step.

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
    JAN : Features and predictions together.
    DeepCORAL : Second moments alone.

    References
    ----------
    M. Long, Y. Cao, J. Wang, M. Jordan. Learning transferable features with deep adaptation
    networks. ICML, 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab import DAN
    >>> rng = np.random.default_rng(0)
    >>> y = np.tile([0, 1], 100)
    >>> X = np.column_stack([4.0 * y, np.zeros(200)]) + rng.normal(size=(200, 2))
    >>> model = DAN(epochs=5, random_state=0, device="cpu").fit((X, y), X + [1.0, 0.0])
    >>> float(model.score(X + [1.0, 0.0], y)) > 0.9
    True
    """

    facts: ClassVar[Facts] = deep_facts(
        "One classifier serves both domains on features of one distribution."
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
        from shiftlab.deep.losses import mmd, ramp

        def loss(step: Step) -> Tensor:
            out = step.outputs()
            distance = mmd(out.source_features, out.target_features)
            weighted = self.weight * ramp(step.progress) * distance
            return step.cross_entropy(out.source_scores) + weighted

        return Method(loss)
