"""Bring the moments of several sources and the target together (M3SDA)."""

from __future__ import annotations

import os
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar

from sklearn.utils._param_validation import Interval

from shiftlab.adapter import Facts
from shiftlab.deep_adapter import DeepAdapter, deep_facts

if TYPE_CHECKING:
    from torch import Tensor

    from shiftlab.deep.adaptation import Context, Method, Step

__all__ = ["M3SDA"]


class M3SDA(DeepAdapter):
    r"""Train a network whose features have the same moments in all sources and in the target.

    .. math:: \min_w \sum_{i=1}^{N} \frac{n_i}{n} \mathrm{CE}_{S_i}(h_i \circ f)
              + \lambda_p \sum_{k=1}^{K} \Bigl( \frac1N \sum_i
              \lVert E[f_i^k] - E[f_T^k] \rVert + \frac{2}{N(N-1)} \sum_{i<j}
              \lVert E[f_i^k] - E[f_j^k] \rVert \Bigr)

    over N sources with a head :math:`h_i` each and powers k, with features f scaled together to
    variance 1 on average first. Each head learns from the rows of its own source; what predicts is
    the mean of the heads' probabilities, for each class over the sources that have it. Sources
    come as a list; with a single one there is one head, and the distance is that to the target.
    ``lambda_p = weight * (2 / (1 + exp(-10 p)) - 1)`` rises with the part p of the training that
    is done.

    The paper weighs the heads by their accuracy on their own sources; here they count the same,
    which was within 0.3 points of such weights on planted shifts of two sources. The paper's
    variant M3SDA-beta, with pairs of heads that disagree on the target, is not made.

    It helps where the sources differ as much from each other as from the target. A large source
    that names some rows wrongly does not outweigh a small one, as it would in one head. It harms
    where the classes have other shares in a source than in the target: features whose moments are
    the same everywhere are then wrong, and a lower `weight` loses less. A batch holds few rows of
    each of many sources: raise `batch_size` with their number. With a few rows the moments differ
    as the classes in them do, and a high weight takes the classes out of the features. The default
    is about that of the authors' code for digits, 0.0005 times the norm over 2,048 features; rows
    of a table bear more (0.3 in the example).

    Parameters
    ----------
    <backbone of every deep adapter>
    weight : float, default=0.02
        Highest weight of the distance.
    order : int, default=2
        Highest power, K.
    <parameters of every deep adapter>

    Attributes
    ----------
    <attributes of every deep adapter>

    See Also
    --------
    MultiSource : One model a source, with any adapter.
    DeepCORAL : Covariances, all sources as one.

    References
    ----------
    X. Peng, Q. Bai, X. Xia, Z. Huang, K. Saenko, B. Wang. Moment matching for multi-source domain
    adaptation. ICCV, 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab import M3SDA
    >>> rng = np.random.default_rng(0)
    >>> y = np.tile([0, 1], 100)
    >>> X = np.column_stack([4.0 * y, np.zeros(200)]) + rng.normal(size=(200, 2))
    >>> model = M3SDA(weight=0.3, epochs=5, random_state=0, device="cpu")
    >>> model = model.fit((X, y), X + [1.0, 0.0])
    >>> float(model.score(X + [1.0, 0.0], y)) > 0.9
    True
    """

    facts: ClassVar[Facts] = deep_facts(
        "Features of the same moments in all domains suit one classifier a source.",
        several_sources=True,
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **DeepAdapter._parameter_constraints,
        "weight": [Interval(Real, 0, None, closed="left")],
        "order": [Interval(Integral, 1, 5, closed="both")],
    }

    def __init__(
        self,
        backbone: Any = "auto",
        *,
        weight: float = 0.02,
        order: int = 2,
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
        self.order = order

    def _method(self, context: Context) -> Method:
        import torch

        from shiftlab.deep.adaptation import Method
        from shiftlab.deep.losses import moment_distance, ramp, unit_spread
        from shiftlab.deep.mixture import MixtureHead, single_head

        group = context.group
        n_sources = 1 if group is None else int(group.max()) + 1
        first = single_head(context.net.head)
        context.net.head = first
        if group is not None and n_sources > 1:
            known = torch.zeros(n_sources, context.n_classes, device=group.device)
            known[group, context.labels] = 1
            context.net.head = MixtureHead(first, known)

        def loss(step: Step) -> Tensor:
            out = step.outputs()
            source, target = unit_spread(out.source_features, out.target_features)
            parts, scores, head = [source], out.source_scores, context.net.head
            if group is not None and isinstance(head, MixtureHead):
                origin = group[step.source_rows]
                parts = [source[origin == k] for k in range(n_sources)]
                scores = head.scores_of(out.source_features, origin)
            # A mean of one row says nothing of a source.
            distance = moment_distance([p for p in parts if len(p) > 1], target, self.order)
            weighted = self.weight * ramp(step.progress) * distance
            return step.cross_entropy(scores) + weighted

        return Method(loss)
