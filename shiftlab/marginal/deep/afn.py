"""Make the norms of features grow (adaptive feature norm)."""

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

__all__ = ["AFN"]


class AFN(DeepAdapter):
    r"""Train a network whose features grow longer, in both domains alike.

    .. math:: \min_w \mathrm{CE}_S(w) + \lambda \, E_{S, T}\bigl[
              (\lVert f \rVert - \min(\lVert f \rVert_0 + r, R))^2 \bigr]

    where ``|f|_0`` is the norm at present, as a constant: each step asks each row's features to be
    longer by r, up to a largest norm R. Target rows have short features as long as the network has
    not learned to read them; long ones lie away from the borders of the classes.

    Nothing is aligned, so class shares may differ. It can harm: LeNet on digits lost 6 points
    (``experiments/digit5_lenet``).

    Parameters
    ----------
    <backbone of every deep adapter>
    weight : float, default=0.05
        The factor lambda.
    growth : float, default=1.0
        By how much a norm shall grow, r.
    largest : float, default=25.0
        The norm at which growth ends, R, which the paper's steps have not. Without an end a network
        with no batch norm makes its features, and with them its loss, ever larger.
    <parameters of every deep adapter>

    Attributes
    ----------
    <attributes of every deep adapter>

    See Also
    --------
    MCC : Moves target rows off the borders by their predictions.

    References
    ----------
    R. Xu, G. Li, J. Yang, L. Lin. Larger norm more transferable: an adaptive feature norm approach
    for unsupervised domain adaptation. ICCV, 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab import AFN
    >>> rng = np.random.default_rng(0)
    >>> y = np.tile([0, 1], 100)
    >>> X = np.column_stack([4.0 * y, np.zeros(200)]) + rng.normal(size=(200, 2))
    >>> model = AFN(epochs=5, random_state=0, device="cpu").fit((X, y), X + [1.0, 0.0])
    >>> float(model.score(X + [1.0, 0.0], y)) > 0.9
    True
    """

    facts: ClassVar[Facts] = deep_facts(
        "Target rows are read badly because their features are short."
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **DeepAdapter._parameter_constraints,
        "weight": [Interval(Real, 0, None, closed="left")],
        "growth": [Interval(Real, 0, None, closed="neither")],
        "largest": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        backbone: Any = "auto",
        *,
        weight: float = 0.05,
        growth: float = 1.0,
        largest: float = 25.0,
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
        self.growth = growth
        self.largest = largest

    def _method(self, context: Context) -> Method:
        from shiftlab.deep.adaptation import Method
        from shiftlab.deep.losses import norm_growth

        def loss(step: Step) -> Tensor:
            out = step.outputs()
            growth = norm_growth(out.source_features, self.growth, self.largest)
            growth = growth + norm_growth(out.target_features, self.growth, self.largest)
            return step.cross_entropy(out.source_scores) + self.weight * growth

        return Method(loss)
