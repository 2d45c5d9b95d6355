"""Features on which two classifiers cannot disagree (maximum classifier discrepancy)."""

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

__all__ = ["MCD"]


class MCD(DeepAdapter):
    r"""Train features on which two classifiers of the source agree about the target.

    .. math:: \min_f \max_{h, h'} \lambda_p \, E_T\bigl[ |p_h - p_{h'}| \bigr] -
              \mathrm{CE}_S(h) - \mathrm{CE}_S(h')

    Both classifiers are right on the source and disagree on the target as much as they can, which
    finds target rows outside of what the source supports; the features move those inside. Both
    games are played in one step through a reversed gradient (the paper takes turns), whose
    weight rises as in `DANN`. The first classifier predicts in the end.

    It helps where classes are near their places and borders are crossed. It asks for no equal
    class shares, but has nothing that holds them, either.

    Parameters
    ----------
    <backbone of every deep adapter>
    weight : float, default=0.3
        Highest weight of the discrepancy.
    <parameters of every deep adapter>

    Attributes
    ----------
    <attributes of every deep adapter>

    See Also
    --------
    MDD : One adversary and a margin.
    DANN : A domain classifier.

    References
    ----------
    K. Saito, K. Watanabe, Y. Ushiku, T. Harada. Maximum classifier discrepancy for unsupervised
    domain adaptation. CVPR, 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab import MCD
    >>> rng = np.random.default_rng(0)
    >>> y = np.tile([0, 1], 100)
    >>> X = np.column_stack([4.0 * y, np.zeros(200)]) + rng.normal(size=(200, 2))
    >>> model = MCD(epochs=5, random_state=0, device="cpu").fit((X, y), X + [1.0, 0.0])
    >>> float(model.score(X + [1.0, 0.0], y)) > 0.9
    True
    """

    facts: ClassVar[Facts] = deep_facts(
        "Target rows that are read wrong lie outside of what the source supports."
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **DeepAdapter._parameter_constraints,
        "weight": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        backbone: Any = "auto",
        *,
        weight: float = 0.3,
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
        from torch import nn
        from torch.nn import functional as F

        from shiftlab.deep.adaptation import Method
        from shiftlab.deep.losses import discrepancy, ramp, reverse_gradient

        first = context.net.head
        # Not a copy of the first: two classifiers that start alike never disagree.
        second = nn.Linear(context.n_features, context.n_classes)

        def loss(step: Step) -> Tensor:
            out = step.outputs()
            rival = F.cross_entropy(second(out.source_features), step.labels, reduction="none")
            if step.weight is not None:
                rival = rival * step.weight
            weight = self.weight * ramp(step.progress)
            # Classifiers raise the discrepancy; features, below the turned gradient, lower it.
            features = reverse_gradient(out.target_features)
            apart = discrepancy(first(features), second(features)) * context.n_classes
            return step.cross_entropy(out.source_scores) + rival.mean() - weight * apart

        return Method(loss, modules={"rival": second})
