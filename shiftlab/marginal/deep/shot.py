"""Move the features of a trained network below a head that stays (SHOT)."""

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

__all__ = ["SHOT"]


class SHOT(DeepAdapter):
    r"""Train the features of a finished network on the bare target, below the head of the source.

    .. math:: \min_f -I(x; h(f(x))) + \beta \, \mathrm{CE}(h(f(a(x))), \tilde y)

    I is the information of the predictions: each is sure, and together they hold all classes.
    The labels y are those of the nearest centroid among the target's own features, found
    anew after each epoch, see `shiftlab.deep.losses.centroid_labels`. The head is the source's
    knowledge of the classes and stays. The source serves to train the network first; with
    ``backbone=trained, pretrain_epochs=0`` its rows never go through the network, and a few
    that name the classes are enough.

    It helps where source rows may not leave their place. It draws the classes towards equal
    shares, and harms where they are far from that.

    Parameters
    ----------
    <backbone of every deep adapter>
    pretrain_epochs : int, default=20
        Passes over the source before; with 0 the backbone must be trained already.
    beta : float, default=0.3
        Weight of the centroids' labels.
    epochs : int, default=20
        Passes over the target; an epoch has at least 20 steps.
    <parameters of every deep adapter but epochs>

    Attributes
    ----------
    <attributes of every deep adapter>

    See Also
    --------
    TENT : Batch norm alone.
    DeepAdapt : The source is at hand.

    References
    ----------
    J. Liang, D. Hu, J. Feng. Do we really need to access the source data? Source hypothesis
    transfer for unsupervised domain adaptation. ICML, 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab import SHOT
    >>> rng = np.random.default_rng(0)
    >>> y = np.tile([0, 1], 100)
    >>> X = np.column_stack([4.0 * y, np.zeros(200)]) + rng.normal(size=(200, 2))
    >>> model = SHOT(epochs=5, pretrain_epochs=5, random_state=0, device="cpu")
    >>> model = model.fit((X, y), X + [1.0, 0.0])
    >>> float(model.score(X + [1.0, 0.0], y)) > 0.9
    True
    """

    facts: ClassVar[Facts] = deep_facts(
        "The source's head separates the target's classes, which are about equally frequent."
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **DeepAdapter._parameter_constraints,
        "pretrain_epochs": [Interval(Integral, 0, None, closed="left")],
        "beta": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        backbone: Any = "auto",
        *,
        pretrain_epochs: int = 20,
        beta: float = 0.3,
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
        self.beta = beta

    def _method(self, context: Context) -> Method:
        from torch import nn
        from torch.nn import functional as F

        from shiftlab.deep.adaptation import Method
        from shiftlab.deep.losses import centroid_labels, information

        net = context.net

        def find_labels() -> Tensor:
            features = context.predict(net, features=True)
            return centroid_labels(features, net.head(features).detach().softmax(dim=1))

        found = nn.Module()
        found.register_buffer("labels", find_labels())

        def loss(step: Step) -> Tensor:
            scores = step.scores(step.augment(step.target))
            step.watch_target(scores)
            learned = F.cross_entropy(scores, found.get_buffer("labels")[step.target_rows])
            return self.beta * learned - information(scores)

        def after_epoch(done: float) -> None:
            found.get_buffer("labels").copy_(find_labels())

        return Method(
            loss,
            companions={"pseudo_labels": found},
            after_epoch=after_epoch,
            trained=[(net.features, 1.0)],
            watches_source=False,
        )
