"""Features from which a domain classifier learns nothing (DANN)."""

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

__all__ = ["DANN"]


class DANN(DeepAdapter):
    r"""Train a network whose features do not tell the domains apart.

    .. math:: \min_w \max_v \mathrm{CE}_S(w) - \lambda_p \, \mathrm{BCE}(v; f_w(X_S), f_w(X_T))

    where v is a domain classifier on the features f, trained through a reversed gradient, and
    ``lambda_p = weight * (2 / (1 + exp(-10 p)) - 1)`` rises with the part p of the
    training that is done.

    It helps where the classes have about the same shares in both domains. Where they have not,
    equal features mean wrong labels: prefer `CDAN`, or `DeepAdapt`, which follows the
    shares.

    Parameters
    ----------
    <backbone of every deep adapter>
    weight : float, default=1.0
        Highest weight of the reversed gradient.
    <parameters of every deep adapter>

    Attributes
    ----------
    <attributes of every deep adapter>

    See Also
    --------
    CDAN : The domain classifier sees predicted classes, too.
    DeepCORAL : Covariances in place of a classifier.

    References
    ----------
    Y. Ganin et al. Domain-adversarial training of neural networks. JMLR, 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab import DANN
    >>> rng = np.random.default_rng(0)
    >>> y = np.tile([0, 1], 100)
    >>> X = np.column_stack([4.0 * y, np.zeros(200)]) + rng.normal(size=(200, 2))
    >>> model = DANN(epochs=5, random_state=0, device="cpu").fit((X, y), X + [1.0, 0.0])
    >>> float(model.score(X + [1.0, 0.0], y)) > 0.9
    True
    """

    facts: ClassVar[Facts] = deep_facts(
        "One classifier serves both domains on features that do not tell them apart."
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
        from shiftlab.deep.adversary import DomainHead
        from shiftlab.deep.losses import domain_loss, ramp, reverse_gradient

        head = DomainHead(context.n_features)

        def loss(step: Step) -> Tensor:
            out = step.outputs()
            weight = self.weight * ramp(step.progress)
            source = head(reverse_gradient(out.source_features, weight))
            target = head(reverse_gradient(out.target_features, weight))
            return step.cross_entropy(out.source_scores) + domain_loss(source, target)

        return Method(loss, modules={"domain_head": head})
