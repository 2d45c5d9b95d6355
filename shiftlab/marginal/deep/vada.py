"""Borders of the classes that run where rows are rare in both domains (VADA)."""

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

__all__ = ["VADA", "target_smoothness", "vada_method"]


def _smoothness(step: Step, batch: Tensor, scores: Tensor, radius: float) -> Tensor:
    """Compute the virtual adversarial loss of a batch that went through the network already."""
    from shiftlab.deep.backbones import Scale
    from shiftlab.deep.batch_norm import statistics_kept
    from shiftlab.deep.losses import virtual_adversarial

    net = step.context.net
    # Images are standardised; columns of a table are by the network itself.
    unit = next((module.std for module in net.modules() if isinstance(module, Scale)), 1.0)
    with statistics_kept(net):
        return virtual_adversarial(
            lambda changed: step.scores(changed * unit),
            batch / unit,
            scores,
            step.context.generator,
            radius=radius,
        )


def target_smoothness(step: Step, batch: Tensor, scores: Tensor, radius: float) -> Tensor:
    """Compute the entropy of target predictions and their virtual adversarial loss.

    Parameters
    ----------
    step : Step
        The step.
    batch : Tensor, shape (n, ...)
        Target rows as they went through the network.
    scores : Tensor, shape (n, k)
        Their class scores.
    radius : float
        As in :class:`VADA`.

    Returns
    -------
    Tensor, scalar
    """
    from shiftlab.deep.losses import entropy

    return entropy(scores).mean() + _smoothness(step, batch, scores, radius)


def vada_method(
    context: Context,
    domain_weight: float,
    source_weight: float,
    target_weight: float,
    radius: float,
) -> Method:
    """Return the loss of :class:`VADA` and its domain classifier.

    Parameters
    ----------
    context : Context
        The network and the samples.
    domain_weight, source_weight, target_weight, radius : float
        As in :class:`VADA`.

    Returns
    -------
    Method
    """
    import torch

    from shiftlab.deep.adaptation import Method
    from shiftlab.deep.adversary import DomainHead
    from shiftlab.deep.losses import domain_loss, ramp, reverse_gradient

    head = DomainHead(context.n_features)

    def loss(step: Step) -> Tensor:
        source, target = step.augment(step.source), step.augment(step.target)
        n = len(source)
        features = step.embed(torch.cat([source, target]))
        scores = context.net.head(features)
        step.watch_target(scores[n:])
        total = step.cross_entropy(scores[:n])
        rise = ramp(step.progress)
        domains = head(reverse_gradient(features, domain_weight * rise))
        total = total + domain_loss(domains[:n], domains[n:])
        if source_weight:
            smooth = _smoothness(step, source, scores[:n], radius)
            total = total + source_weight * rise * smooth
        if target_weight:
            smooth = target_smoothness(step, target, scores[n:], radius)
            total = total + target_weight * rise * smooth
        return total

    return Method(loss, modules={"domain_head": head})


class VADA(DeepAdapter):
    r"""Train a network that changes its mind in neither domain where rows lie.

    .. math:: \min_w \max_d \mathrm{CE}_S + \lambda_d L_d + \lambda_s V_S +
              \lambda_t (H_T + V_T)

    The domain loss L_d of a reversed gradient, as in `DANN`; H the mean entropy of target
    predictions, which drives borders out of crowds; and V the virtual adversarial loss,
    ``max_{|r| <= radius} KL(p(x) || p(x + r))``, without which a network has room to
    be sure of anything. All but the first rise as in `DANN`.

    It helps where classes are clusters in the target. It harms where the first predictions are
    wrong for a whole cluster. Five passes through the network a step.

    Parameters
    ----------
    <backbone of every deep adapter>
    domain_weight : float, default=0.3
        Highest weight of the reversed gradient.
    source_weight : float, default=0.3
        Highest weight of the source's virtual adversary.
    target_weight : float, default=0.02
        Highest weight of the target's entropy and virtual adversary.
    radius : float, default=0.1
        Length of a change, as a root mean square in standard deviations of the entries.
    <parameters of every deep adapter>

    Attributes
    ----------
    <attributes of every deep adapter>

    See Also
    --------
    DIRTT : Goes on from here on the target alone.
    DANN : The domain loss alone.

    References
    ----------
    R. Shu, H. Bui, H. Narui, S. Ermon. A DIRT-T approach to unsupervised domain adaptation. ICLR,
    2018.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab import VADA
    >>> rng = np.random.default_rng(0)
    >>> y = np.tile([0, 1], 100)
    >>> X = np.column_stack([4.0 * y, np.zeros(200)]) + rng.normal(size=(200, 2))
    >>> model = VADA(epochs=5, random_state=0, device="cpu").fit((X, y), X + [1.0, 0.0])
    >>> float(model.score(X + [1.0, 0.0], y)) > 0.9
    True
    """

    facts: ClassVar[Facts] = deep_facts(
        "Classes are clusters in the target, and most clusters are read right at first."
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **DeepAdapter._parameter_constraints,
        "domain_weight": [Interval(Real, 0, None, closed="left")],
        "source_weight": [Interval(Real, 0, None, closed="left")],
        "target_weight": [Interval(Real, 0, None, closed="left")],
        "radius": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        backbone: Any = "auto",
        *,
        domain_weight: float = 0.3,
        source_weight: float = 0.3,
        target_weight: float = 0.02,
        radius: float = 0.1,
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
        self.domain_weight = domain_weight
        self.source_weight = source_weight
        self.target_weight = target_weight
        self.radius = radius

    def _method(self, context: Context) -> Method:
        return vada_method(
            context, self.domain_weight, self.source_weight, self.target_weight, self.radius
        )
