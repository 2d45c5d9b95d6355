"""Bring the covariances of learned features together (deep CORAL)."""

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

__all__ = ["DeepCORAL"]


class DeepCORAL(DeepAdapter):
    r"""Train a network whose features have one covariance in both domains.

    .. math:: \min_w \mathrm{CE}_S(w) + \lambda_p \frac{\lVert C_S - C_T \rVert_F^2}{4 d^2}

    with the covariances C of the d features in a batch, which are scaled together to variance
    1 on average: smaller features are no nearer to each other. The weight rises as in `DANN`: in
    the first steps it would pull a network without batch norm to features that are all the same.

    It helps where the domains differ smoothly. It is blind to differences that leave second
    moments as they are, and like every alignment of the whole of P(X) it pulls classes over each
    other where their shares differ.

    Parameters
    ----------
    <backbone of every deep adapter>
    weight : float, default=1.0
        Highest factor lambda.
    <parameters of every deep adapter>

    Attributes
    ----------
    <attributes of every deep adapter>

    See Also
    --------
    CORAL : The closed form on given features.
    DANN : Against a domain classifier in place of covariances.

    References
    ----------
    B. Sun, K. Saenko. Deep CORAL: correlation alignment for deep domain adaptation. ECCV
    Workshops, 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab import DeepCORAL
    >>> rng = np.random.default_rng(0)
    >>> y = np.tile([0, 1], 100)
    >>> X = np.column_stack([4.0 * y, np.zeros(200)]) + rng.normal(size=(200, 2))
    >>> model = DeepCORAL(epochs=5, random_state=0, device="cpu").fit((X, y), X + [1.0, 0.0])
    >>> float(model.score(X + [1.0, 0.0], y)) > 0.9
    True
    """

    facts: ClassVar[Facts] = deep_facts(
        "Features exist whose class-wise distributions agree once their covariances do."
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
        from shiftlab.deep.losses import coral, ramp, unit_spread

        def loss(step: Step) -> Tensor:
            out = step.outputs()
            source, target = unit_spread(out.source_features, out.target_features)
            weighted = self.weight * ramp(step.progress) * coral(source, target)
            return step.cross_entropy(out.source_scores) + weighted

        return Method(loss)
