"""Features on which an adversary cannot follow the classifier (margin disparity)."""

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

__all__ = ["MDD"]


class MDD(DeepAdapter):
    r"""Train features on which an adversary that agrees with the classifier on the source does so
    on the target, too.

    .. math:: \min_{f, h} \max_{h'} \mathrm{CE}_S(h) - \lambda_p \bigl(
              \gamma \, E_S[-\log p_{h'}(h(x))] - E_T[\log(1 - p_{h'}(h(x)))] \bigr)

    h(x) is the class that the classifier predicts. The adversary h' learns to agree with it
    on the source and to disagree on the target; the features leave it no way to. The weight rises
    as in `DANN`. The bound behind it is on the margin loss of the target.

    It helps where the classes have about the same shares in both domains.

    Parameters
    ----------
    <backbone of every deep adapter>
    weight : float, default=0.1
        Highest weight of the reversed gradient; the default is TLlib's.
    margin : float, default=4.0
        The factor gamma, the exponential of the margin.
    <parameters of every deep adapter>

    Attributes
    ----------
    <attributes of every deep adapter>

    See Also
    --------
    MCD : Two classifiers of equal rights.

    References
    ----------
    Y. Zhang, T. Liu, M. Long, M. Jordan. Bridging theory and algorithm for domain adaptation.
    ICML, 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab import MDD
    >>> rng = np.random.default_rng(0)
    >>> y = np.tile([0, 1], 100)
    >>> X = np.column_stack([4.0 * y, np.zeros(200)]) + rng.normal(size=(200, 2))
    >>> model = MDD(epochs=5, random_state=0, device="cpu").fit((X, y), X + [1.0, 0.0])
    >>> float(model.score(X + [1.0, 0.0], y)) > 0.9
    True
    """

    facts: ClassVar[Facts] = deep_facts(
        "A classifier exists that is right on both domains with a margin."
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **DeepAdapter._parameter_constraints,
        "weight": [Interval(Real, 0, None, closed="left")],
        "margin": [Interval(Real, 1, None, closed="left")],
    }

    def __init__(
        self,
        backbone: Any = "auto",
        *,
        weight: float = 0.1,
        margin: float = 4.0,
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
        self.margin = margin

    def _method(self, context: Context) -> Method:
        from torch import nn

        from shiftlab.deep.adaptation import Method
        from shiftlab.deep.losses import margin_disparity, ramp, reverse_gradient

        width = context.n_features
        adversary = nn.Sequential(
            nn.Linear(width, 128), nn.ReLU(), nn.Linear(128, context.n_classes)
        )

        def loss(step: Step) -> Tensor:
            out = step.outputs()
            weight = self.weight * ramp(step.progress)
            disparity = margin_disparity(
                out.source_scores,
                adversary(reverse_gradient(out.source_features, weight)),
                out.target_scores,
                adversary(reverse_gradient(out.target_features, weight)),
                self.margin,
            )
            return step.cross_entropy(out.source_scores) + disparity

        return Method(loss, modules={"adversary": adversary})
