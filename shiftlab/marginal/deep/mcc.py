"""Predictions that confuse classes as little as can be (MCC)."""

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

__all__ = ["MCC"]


class MCC(DeepAdapter):
    r"""Train a network that confuses the classes of the target as little as it can.

    .. math:: \min_w \mathrm{CE}_S(w) + \lambda \, \bigl(1 - \tfrac1k \operatorname{tr} \bar C\bigr)

    with the class confusion C of a target batch, ``p' diag(v) p`` of the probabilities at a
    temperature, rows weighted by their certainty v and C scaled to rows of sum 1. Nothing is
    aligned, so class shares may differ and classes may be missing from the target.

    It helps where classes lie apart in the target, as in `TENT`, but with the source's labels
    to hold it. It harms where they do not: it then draws borders through classes.

    Parameters
    ----------
    <backbone of every deep adapter>
    weight : float, default=1.0
        The factor lambda.
    temperature : float, default=2.5
        Scores are divided by it before the softmax.
    <parameters of every deep adapter>

    Attributes
    ----------
    <attributes of every deep adapter>

    See Also
    --------
    CDAN : Aligns features.
    DeepAdapt : Learns from its own sure predictions.

    References
    ----------
    Y. Jin, X. Wang, M. Long, J. Wang. Minimum class confusion for versatile domain adaptation.
    ECCV, 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab import MCC
    >>> rng = np.random.default_rng(0)
    >>> y = np.tile([0, 1], 100)
    >>> X = np.column_stack([4.0 * y, np.zeros(200)]) + rng.normal(size=(200, 2))
    >>> model = MCC(epochs=5, random_state=0, device="cpu").fit((X, y), X + [1.0, 0.0])
    >>> float(model.score(X + [1.0, 0.0], y)) > 0.9
    True
    """

    facts: ClassVar[Facts] = deep_facts("Few target rows lie between two classes.")
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **DeepAdapter._parameter_constraints,
        "weight": [Interval(Real, 0, None, closed="left")],
        "temperature": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        backbone: Any = "auto",
        *,
        weight: float = 1.0,
        temperature: float = 2.5,
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
        self.temperature = temperature

    def _method(self, context: Context) -> Method:
        from shiftlab.deep.adaptation import Method
        from shiftlab.deep.losses import class_confusion

        def loss(step: Step) -> Tensor:
            out = step.outputs()
            confusion = class_confusion(out.target_scores, self.temperature)
            return step.cross_entropy(out.source_scores) + self.weight * confusion

        return Method(loss)
