"""Transport of source batches onto target batches, features and labels together (DeepJDOT)."""

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

__all__ = ["DeepJDOT"]


class DeepJDOT(DeepAdapter):
    r"""Train a network under which carrying the source onto the target costs little.

    .. math:: \min_w \mathrm{CE}_S(w) + \lambda_p \min_{\gamma} \sum_{ij} \gamma_{ij} \bigl(
              a \, \lVert f_i - f_j \rVert^2 / d - b \log p_j(y_i) \bigr)

    The plan gamma of a pair of batches is exact, and rows count the same. Features are scaled
    together to variance 1 on average first. A target row learns the label of the source rows that
    it is matched with. The weight rises as in `DANN`.

    It helps where the domains are moved copies of each other. Where class shares differ,
    batches cannot be matched without wrong labels; and those of small batches always differ: of 64
    rows of ten equal classes a fifth is matched with another class, of 256 a tenth. Raise
    `batch_size` with the number of classes. O(b^3) time a step, on the CPU.

    Parameters
    ----------
    <backbone of every deep adapter>
    weight : float, default=0.3
        Highest weight of the transport.
    of_features : float, default=1.0
        The factor a.
    of_labels : float, default=1.0
        The factor b.
    <parameters of every deep adapter>

    Attributes
    ----------
    <attributes of every deep adapter>

    See Also
    --------
    JointTransport : The same on a table, with any classifier.
    DAN : No labels in the distance.

    References
    ----------
    B. Damodaran, B. Kellenberger, R. Flamary, D. Tuia, N. Courty. DeepJDOT: deep joint distribution
    optimal transport for unsupervised domain adaptation. ECCV, 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab import DeepJDOT
    >>> rng = np.random.default_rng(0)
    >>> y = np.tile([0, 1], 100)
    >>> X = np.column_stack([4.0 * y, np.zeros(200)]) + rng.normal(size=(200, 2))
    >>> model = DeepJDOT(epochs=5, random_state=0, device="cpu").fit((X, y), X + [1.0, 0.0])
    >>> float(model.score(X + [1.0, 0.0], y)) > 0.9
    True
    """

    facts: ClassVar[Facts] = deep_facts(
        "The target is the source moved, class by class, in the same shares."
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **DeepAdapter._parameter_constraints,
        "weight": [Interval(Real, 0, None, closed="left")],
        "of_features": [Interval(Real, 0, None, closed="left")],
        "of_labels": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        backbone: Any = "auto",
        *,
        weight: float = 0.3,
        of_features: float = 1.0,
        of_labels: float = 1.0,
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
        self.of_features = of_features
        self.of_labels = of_labels

    def _method(self, context: Context) -> Method:
        from shiftlab.deep.adaptation import Method
        from shiftlab.deep.losses import joint_cost, ramp, transport_cost, unit_spread

        def loss(step: Step) -> Tensor:
            out = step.outputs()
            source, target = unit_spread(out.source_features, out.target_features)
            cost = joint_cost(
                source,
                target,
                step.labels,
                out.target_scores,
                of_features=self.of_features,
                of_labels=self.of_labels,
            )
            moved = self.weight * ramp(step.progress) * transport_cost(cost)
            return step.cross_entropy(out.source_scores) + moved

        return Method(loss)
