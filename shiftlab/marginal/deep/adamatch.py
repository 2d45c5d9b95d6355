"""Pseudo-labels of bare target rows, sure beside the source (AdaMatch)."""

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

__all__ = ["AdaMatch"]

_MEMORY = 0.99  # of the running class shares, a step


class AdaMatch(DeepAdapter):
    r"""Train on the source and on target labels that are sure by the measure of the source.

    .. math:: \min_w \mathrm{CE}_S(w) + \mu_p \frac1m \sum_{i:\, \max_c q_i(c) \ge \tau r}
              -\log p_w(\hat y_i \mid a(x_i))

    The network's own predictions q of bare target rows are brought to the class shares that it
    predicts on the source, and count from a part tau of its mean confidence r on the source's bare
    rows. Rows changed at random (a) learn them. Source scores are a random mixture of those of
    a batch with both domains and of one with the source alone, entry by entry. The weight rises
    as ``(1 - cos(min(pi, 2 pi p))) / 2``.

    It helps where random changes of a row keep its class and cross the domains. It takes the
    source's class shares for the target's. Three passes through the network a step.

    Parameters
    ----------
    <backbone of every deep adapter>
    weight : float, default=1.0
        Highest weight of the target's labels.
    confidence : float, default=0.9
        Part of the source's mean confidence from which a row is sure, tau.
    <parameters of every deep adapter>

    Attributes
    ----------
    <attributes of every deep adapter>

    See Also
    --------
    DeepAdapt : A moving average labels, and class shares may differ.
    SelfEnsembling : Probabilities in place of labels.

    References
    ----------
    D. Berthelot, R. Roelofs, K. Sohn, N. Carlini, A. Kurakin. AdaMatch: a unified approach to
    semi-supervised learning and domain adaptation. ICLR, 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab import AdaMatch
    >>> rng = np.random.default_rng(0)
    >>> y = np.tile([0, 1], 100)
    >>> X = np.column_stack([4.0 * y, np.zeros(200)]) + rng.normal(size=(200, 2))
    >>> model = AdaMatch(epochs=5, random_state=0, device="cpu").fit((X, y), X + [1.0, 0.0])
    >>> float(model.score(X + [1.0, 0.0], y)) > 0.9
    True
    """

    facts: ClassVar[Facts] = deep_facts(
        "What the network is sure of in the target is mostly right; class shares are equal."
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **DeepAdapter._parameter_constraints,
        "weight": [Interval(Real, 0, None, closed="left")],
        "confidence": [Interval(Real, 0, 1, closed="both")],
    }

    def __init__(
        self,
        backbone: Any = "auto",
        *,
        weight: float = 1.0,
        confidence: float = 0.9,
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
        self.confidence = confidence

    def _method(self, context: Context) -> Method:
        import math

        import torch
        from torch import nn

        from shiftlab.deep.adaptation import Method
        from shiftlab.deep.batch_norm import statistics_kept
        from shiftlab.deep.losses import align_distribution, pseudo_label_loss

        seen = nn.Module()
        for domain in ("source", "target"):
            seen.register_buffer(domain, context.source_prior.clone())

        def loss(step: Step) -> Tensor:
            n, m = len(step.source), len(step.target)
            source = torch.cat([step.source, step.augment(step.source)])
            target = torch.cat([step.target, step.augment(step.target)])
            together = step.scores(torch.cat([source, target]))
            with statistics_kept(context.net):
                alone = step.scores(source)
            part = torch.rand(alone.shape, generator=context.generator, device=alone.device)
            of_source = part * together[: 2 * n] + (1.0 - part) * alone
            bare, changed = together[2 * n : 2 * n + m], together[2 * n + m :]
            step.watch_target(bare)
            with torch.no_grad():
                known, guessed = (s.softmax(dim=1) for s in (of_source[:n], bare))
                for domain, p in (("source", known), ("target", guessed)):
                    seen.get_buffer(domain).lerp_(p.mean(dim=0), 1.0 - _MEMORY)
                shares = (seen.get_buffer(domain) for domain in ("target", "source"))
                aligned = align_distribution(guessed, *shares)
                least = self.confidence * known.max(dim=1).values.mean()
            learned, _ = pseudo_label_loss(changed, aligned, least)
            rise = 0.5 - 0.5 * math.cos(min(math.pi, 2 * math.pi * step.progress))
            of_labels = (step.cross_entropy(of_source[:n]) + step.cross_entropy(of_source[n:])) / 2
            return of_labels + self.weight * rise * learned

        return Method(loss, companions={"seen": seen})
