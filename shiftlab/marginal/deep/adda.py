"""A network of the target whose features pass for those of the source (ADDA)."""

from __future__ import annotations

import os
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar, cast

from sklearn.utils._param_validation import Interval

from shiftlab.adapter import Facts
from shiftlab.deep_adapter import DeepAdapter, deep_facts

if TYPE_CHECKING:
    from torch import Tensor

    from shiftlab.deep import BlockNet
    from shiftlab.deep.adaptation import Context, Method, Step

__all__ = ["ADDA"]

# Adam moves weights by its rate however little the two domains differ: ten times faster, and most
# of the target of a LeNet came to be called one class.
_RATE = 0.01


class ADDA(DeepAdapter):
    r"""Train features of the target that a domain classifier takes for the source's.

    .. math:: \min_g -E_T[\log d(g(x))], \quad
              \max_d E_S[\log d(f(x))] + E_T[\log(1 - d(g(x)))]

    f and its head are trained on the source first and stay; g starts as a copy of f. It predicts
    with the head of the source. In contrast to `DANN`, each domain has a network of its own.

    It helps where the domains need different features for the same classes. Nothing holds the
    classes together: where g drifts, it may pass one class for another, so it learns slowly
    (a hundredth of the rate of the domain classifier), and gains little in a short training.

    Parameters
    ----------
    <backbone of every deep adapter>
    pretrain_epochs : int, default=20
        Passes over the source before; with 0 the backbone must be trained already.
    epochs : int, default=20
        Passes over the larger sample after that; an epoch has at least 20 steps.
    <parameters of every deep adapter but epochs>

    Attributes
    ----------
    <attributes of every deep adapter>

    See Also
    --------
    DANN : One network, trained on both.
    SHOT : No source rows after the first training.

    References
    ----------
    E. Tzeng, J. Hoffman, K. Saenko, T. Darrell. Adversarial discriminative domain adaptation.
    CVPR, 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab import ADDA
    >>> rng = np.random.default_rng(0)
    >>> y = np.tile([0, 1], 100)
    >>> X = np.column_stack([4.0 * y, np.zeros(200)]) + rng.normal(size=(200, 2))
    >>> model = ADDA(epochs=5, pretrain_epochs=5, random_state=0, device="cpu")
    >>> model = model.fit((X, y), X + [1.0, 0.0])
    >>> float(model.score(X + [1.0, 0.0], y)) > 0.9
    True
    """

    facts: ClassVar[Facts] = deep_facts(
        "Features of the target exist that look like the source's, class by class."
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **DeepAdapter._parameter_constraints,
        "pretrain_epochs": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(
        self,
        backbone: Any = "auto",
        *,
        pretrain_epochs: int = 20,
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
        self.pretrain_epochs = pretrain_epochs

    def _method(self, context: Context) -> Method:
        from torch.func import functional_call
        from torch.nn import functional as F

        from shiftlab.deep.adaptation import Method
        from shiftlab.deep.adversary import DomainHead
        from shiftlab.deep.averages import MovingAverage
        from shiftlab.deep.losses import domain_loss

        net = context.net
        # Never updated: a copy that stays in evaluation mode and out of the optimiser.
        source_net = MovingAverage(net, 0.0)
        domain_head = DomainHead(context.n_features)

        def loss(step: Step) -> Tensor:
            of_source = step.embed(step.augment(step.source), cast("BlockNet", source_net.net))
            of_target = step.embed(step.augment(step.target))
            step.watch_target(net.head(of_target))
            told_apart = domain_loss(*(domain_head(f.detach()) for f in (of_source, of_target)))
            # The features learn against the domain classifier, which does not learn from them.
            fixed = {name: p.detach() for name, p in domain_head.named_parameters()}
            passed_off = F.softplus(-functional_call(domain_head, fixed, (of_target,))).mean()
            return told_apart + passed_off

        return Method(
            loss,
            modules={"domain_head": domain_head},
            companions={"source_net": source_net},
            trained=[(net.features, _RATE)],
            watches_source=False,
        )
