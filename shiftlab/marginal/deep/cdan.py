"""A domain classifier that sees features and predicted classes together (CDAN)."""

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

__all__ = ["CDAN"]

_WIDEST, _RANDOM_WIDTH = 4096, 1024


class CDAN(DeepAdapter):
    r"""Train a network whose features do not tell the domains apart, given the predicted class.

    .. math:: \min_w \max_v \mathrm{CE}_S(w) - \lambda_p \, \mathrm{BCE}(v; f \otimes p)

    The domain classifier v reads the outer product of features f and class probabilities p, so
    that classes are aligned with classes; above 4,096 entries a random map to 1,024 dimensions
    stands for it. With `entropy`, sure rows weigh more (CDAN+E), by ``1 + exp(-H(p))``.
    The weight rises as in `DANN`.

    It helps where P(X) given the class moved. It harms where predictions on the target
    are mostly wrong at first, because wrong classes are then aligned.

    Parameters
    ----------
    <backbone of every deep adapter>
    weight : float, default=1.0
        Highest weight of the reversed gradient.
    entropy : bool, default=True
        Whether sure rows weigh more.
    <parameters of every deep adapter>

    Attributes
    ----------
    <attributes of every deep adapter>

    See Also
    --------
    DANN : Without the predictions.
    MCC : Without a second network.

    References
    ----------
    M. Long, Z. Cao, J. Wang, M. Jordan. Conditional adversarial domain adaptation. NeurIPS, 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab import CDAN
    >>> rng = np.random.default_rng(0)
    >>> y = np.tile([0, 1], 100)
    >>> X = np.column_stack([4.0 * y, np.zeros(200)]) + rng.normal(size=(200, 2))
    >>> model = CDAN(epochs=5, random_state=0, device="cpu").fit((X, y), X + [1.0, 0.0])
    >>> float(model.score(X + [1.0, 0.0], y)) > 0.9
    True
    """

    facts: ClassVar[Facts] = deep_facts(
        "Class by class, features exist that do not tell the domains apart."
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **DeepAdapter._parameter_constraints,
        "weight": [Interval(Real, 0, None, closed="left")],
        "entropy": ["boolean"],
    }

    def __init__(
        self,
        backbone: Any = "auto",
        *,
        weight: float = 1.0,
        entropy: bool = True,
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
        self.entropy = entropy

    def _method(self, context: Context) -> Method:
        import torch

        from shiftlab.deep.adaptation import Method
        from shiftlab.deep.adversary import DomainHead
        from shiftlab.deep.losses import (
            RandomMap,
            domain_loss,
            entropy,
            multilinear_map,
            ramp,
            reverse_gradient,
        )

        width = context.n_features * context.n_classes
        companions = {}
        join = multilinear_map
        if width > _WIDEST:
            width = _RANDOM_WIDTH
            generator = torch.Generator().manual_seed(int(torch.randint(2**31, (1,))))
            companions["map"] = join = RandomMap(
                context.n_features, context.n_classes, width, generator
            )
        head = DomainHead(width)

        def judge(features: Tensor, scores: Tensor, weight: float) -> tuple[Tensor, Tensor | None]:
            # The gradient reaches the features alone: classes are what is conditioned on.
            fixed = scores.detach()
            score = head(join(reverse_gradient(features, weight), fixed.softmax(dim=1)))
            return score, 1.0 + torch.exp(-entropy(fixed)) if self.entropy else None

        def loss(step: Step) -> Tensor:
            out = step.outputs()
            weight = self.weight * ramp(step.progress)
            source, source_weight = judge(out.source_features, out.source_scores, weight)
            target, target_weight = judge(out.target_features, out.target_scores, weight)
            domains = domain_loss(source, target, source_weight, target_weight)
            return step.cross_entropy(out.source_scores) + domains

        return Method(loss, modules={"domain_head": head}, companions=companions)
