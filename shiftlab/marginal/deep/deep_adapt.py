"""Learn from sure predictions of a moving average, with the class shares held (DeepAdapt)."""

from __future__ import annotations

import dataclasses
import os
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar, cast

from sklearn.utils._param_validation import Interval

from shiftlab.adapter import Facts
from shiftlab.deep_adapter import DeepAdapter, deep_facts

if TYPE_CHECKING:
    from torch import Tensor

    from shiftlab.deep import BlockNet
    from shiftlab.deep.adaptation import Augment, Context, Method, Step

__all__ = ["DeepAdapt"]

# Settled by reason and by what can be seen without target labels; one setting for all data.
_WARM_UP = 0.1  # part of the training in which the target's weight rises
_HOLD = 0.3
_ON_BACKGROUNDS = 0.5
_HOLE = 0.5  # side of what is hidden of a target image, as a part of its width
_SETTLED, _HIDDEN_UNTIL = 0.3, 0.8  # parts of the training that are done


class DeepAdapt(DeepAdapter):
    r"""Train a network on the source and on what its own moving average is sure of in the target.

    .. math:: \min_w \mathrm{CE}_S(w) + \lambda_p \Bigl( \frac1m \sum_{i:\, \max_c q_i(c) \ge \tau}
              -\log p_w(\hat y_i \mid a(x_i)) + \kappa\, \mathrm{KL}(\bar p \,\Vert\, \pi) \Bigr)

    The teacher, an exponential moving average of the network, labels bare target rows; the
    network learns the labels that the teacher is sure of, from rows changed at random (a).
    In the first part of the training it learns the teacher's probabilities in their place, so
    that two classes that are still mixed up do not become one.
    Its predictions q are brought to the class shares pi first, and the network's own mean
    prediction is drawn to them: else the class that is found a little too often is learned more
    and more. The shares start half way between the source's and equal ones. Of the rows that the
    teacher is sure of and the network agrees with, a class keeps at least the geometric mean of
    their share and its first one, within `largest_ratio`; the others go where more was wanted
    first. Both domains go through one batch norm. Of the source's images on plain ground half are
    shown on random backgrounds; of each of the target's a square of half its width is hidden once
    the teacher has settled, and no more in the last part, so that a label is learned from all
    parts of an image and not from those alone by which the teacher found it. The teacher predicts
    in the end.

    It is the adapter to try first on images: it asks for no equal class shares, and
    nothing in it has to be tuned by target labels. It harms where the first sure predictions
    are mostly wrong: a domain so far that the source's network guesses, or shares that moved by
    much more than `largest_ratio`.

    Parameters
    ----------
    <backbone of every deep adapter>
    weight : float, default=1.0
        Highest weight of all that is learned on the target.
    confidence : float, default=0.7
        Probability from which the teacher is sure, tau. Higher is slower: where
        the source's network is sure of little, little is learned at first.
    decay : float, default=0.995
        Of the moving average, a step.
    largest_ratio : float, default=2.0
        By how much a class may become more or less frequent than it was taken to be first.
    <parameters of every deep adapter>

    Attributes
    ----------
    <attributes of every deep adapter>

    See Also
    --------
    SelfEnsembling : The teacher alone.
    AdaMatch : No teacher, relative confidence.

    References
    ----------
    G. French, M. Mackiewicz, M. Fisher. Self-ensembling for visual domain adaptation. ICLR, 2018.

    K. Sohn et al. FixMatch: simplifying semi-supervised learning with consistency and confidence.
    NeurIPS, 2020.

    T. DeVries, G. W. Taylor. Improved regularization of convolutional neural networks with cutout.
    arXiv:1708.04552, 2017.

    D. Berthelot et al. ReMixMatch: semi-supervised learning with distribution matching and
    augmentation anchoring. ICLR, 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab import DeepAdapt
    >>> rng = np.random.default_rng(0)
    >>> y = np.tile([0, 1], 100)
    >>> X = np.column_stack([4.0 * y, np.zeros(200)]) + rng.normal(size=(200, 2))
    >>> model = DeepAdapt(epochs=5, random_state=0, device="cpu").fit((X, y), X + [1.0, 0.0])
    >>> float(model.score(X + [1.0, 0.0], y)) > 0.9
    True
    """

    facts: ClassVar[Facts] = deep_facts(
        "What the network is sure of in the target is mostly right; class shares moved little."
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **DeepAdapter._parameter_constraints,
        "weight": [Interval(Real, 0, None, closed="left")],
        "confidence": [Interval(Real, 0, 1, closed="both")],
        "decay": [Interval(Real, 0, 1, closed="left")],
        "largest_ratio": [Interval(Real, 1, None, closed="left")],
    }

    def __init__(
        self,
        backbone: Any = "auto",
        *,
        weight: float = 1.0,
        confidence: float = 0.7,
        decay: float = 0.995,
        largest_ratio: float = 2.0,
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
        self.decay = decay
        self.largest_ratio = largest_ratio

    def _method(self, context: Context) -> Method:
        import torch

        from shiftlab.deep import Augmentation
        from shiftlab.deep.adaptation import Method
        from shiftlab.deep.averages import MovingAverage
        from shiftlab.deep.class_shares import ClassShares
        from shiftlab.deep.losses import pseudo_label_loss

        teacher = MovingAverage(context.net, self.decay)
        shares = ClassShares(context.source_prior, self.largest_ratio)
        given = on_source = on_hidden = context.augmentation
        if isinstance(given, Augmentation):
            on_source = dataclasses.replace(given, background=_ON_BACKGROUNDS)
            on_hidden = dataclasses.replace(given, hole=_HOLE)

        def changed(batch: Tensor, augment: Augment | None) -> Tensor:
            return batch if augment is None else augment(batch, context.generator)

        def loss(step: Step) -> Tensor:
            sure = shares.align(step.scores(step.target, teacher).softmax(dim=1))
            settled = step.progress >= _SETTLED
            on_target = on_hidden if settled and step.progress < _HIDDEN_UNTIL else given
            both = changed(step.source, on_source), changed(step.target, on_target)
            scores = step.scores(torch.cat(both))
            of_source, of_target = scores[: len(both[0])], scores[len(both[0]) :]
            step.watch_target(of_target)
            learned, is_sure = pseudo_label_loss(of_target, sure, self.confidence, soft=not settled)
            labels = sure.argmax(dim=1)
            shares.count(labels, is_sure & (of_target.argmax(dim=1) == labels))
            weight = self.weight * min(1.0, step.progress / _WARM_UP)
            held = _HOLD * shares.excess(of_target)
            return step.cross_entropy(of_source) + weight * (learned + held)

        return Method(
            loss,
            companions={"teacher": teacher, "shares": shares},
            after_step=lambda: teacher.update(context.net),
            after_epoch=lambda done: shares.follow(),
            predictor=cast("BlockNet", teacher.net),
        )
