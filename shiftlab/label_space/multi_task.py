"""One body and a head for each task, trained together."""

from __future__ import annotations

import os
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval

from shiftlab.adapter import Facts
from shiftlab.deep_adapter import DeepAdapter, deep_facts, require_deep
from shiftlab.domain import Domain

if TYPE_CHECKING:
    from shiftlab.deep import TrainedNet

__all__ = ["MultiTask"]


class MultiTask(DeepAdapter):
    r"""Train one network on the source's task and the target's at once, with a head for each.

    .. math:: \min_{\phi, h_0, h_1, \dots}
              \frac{1}{n_T} \sum_{i \in \text{labelled target}}
              -\log p_{h_0 \circ \phi}(y_i \mid x_i)
              + \frac{\lambda}{S} \sum_{s=1}^{S} \frac{1}{n_s} \sum_{i \in s}
              -\log p_{h_s \circ \phi}(y_i \mid x_i)

    for the source's tasks s; several sources, given as a list, are a task each, with
    label sets of their own. Every step has a batch of each task, and the body sees
    them as one batch.

    It helps where the tasks need the same features and neither has labels for
    them all; unlike :class:`FineTune` it does not forget the source. It may harm where
    the tasks need different features, and it costs a training on everything for every
    new target.

    Time is O(epochs * max n) gradient evaluations of a batch of each task; memory is
    the data and these batches of activations.

    Parameters
    ----------
    backbone : str, torch.nn.Module or pair, default="auto"
        "digit_cnn", "lenet" or "mlp"; "auto" is "digit_cnn" for images and "mlp" for tables.
        Or a network with ``features`` and ``head``, or a pair of them, which is copied;
        its head is replaced.
    source_weight : float, default=1.0
        :math:`\lambda`, of all source tasks together. Row weights count within a task.
    <parameters of every deep adapter>

    Attributes
    ----------
    net_ : TrainedNet
        The network with the target's head.
    nets_ : dict of str to TrainedNet
        The same body with the head of each source task, by the source's name.
    classes_ : ndarray, shape (k,)
        The target's label set: what is seen, or ``target.classes`` where given.
    source_ : Domain
        The labelled target rows, as features of the network.

    See Also
    --------
    FineTune : One task after the other.

    References
    ----------
    .. [1] R. Caruana. Multitask learning. Machine Learning, 1997.

    Examples
    --------
    >>> import numpy as np
    >>> from shiftlab import Domain, MultiTask
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(60, 2))
    >>> source = (X, np.where(X[:, 0] > 0, "east", "west"))
    >>> y = np.where(X[:, 0] > 0, 1, 0)
    >>> target = Domain(X, y, labelled=np.arange(60) < 20)
    >>> model = MultiTask(epochs=5, device="cpu", random_state=0).fit(source, target)
    >>> model.classes_.tolist(), model.nets_["source"].classes.tolist()
    ([0, 1], ['east', 'west'])
    """

    facts: ClassVar[Facts] = deep_facts(
        "Source and target are different tasks that need the same features.",
        handles=("label_space",),
        target_labels="required",
        label_sets=("new", "gone"),
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **DeepAdapter._parameter_constraints,
        "source_weight": [Interval(Real, 0, None, closed="neither")],
    }

    nets_: dict[str, TrainedNet]

    def __init__(
        self,
        backbone: Any = "auto",
        *,
        source_weight: float = 1.0,
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
        self.source_weight = source_weight

    def _adapt(self, source: Domain, target: Domain) -> Domain:
        require_deep("MultiTask")
        from shiftlab.deep import TrainedNet
        from shiftlab.deep.devices import LARGEST_SEED, resolve_device
        from shiftlab.deep.multi_task import train_together

        self._check_checkpoint()
        labelled = target.labelled_part()
        tasks = self._tasks(source.labelled_part())
        own = target.label_set()
        if len(own) < 2:
            raise ValueError(
                "MultiTask needs labelled target rows of at least two classes; got only one class, "
                f"{own.tolist()}"
            )
        seed = int(check_random_state(self.random_state).randint(LARGEST_SEED))
        backbone = self._backbone_of(target)
        augmentation = self.augmentation
        if isinstance(augmentation, str):
            from shiftlab.deep import Augmentation

            augmentation = Augmentation() if target.is_image else None
        rows = [labelled, *tasks.values()]
        label_sets = [own, *(np.unique(task.y) for task in tasks.values())]
        given = self.source_weight / len(tasks)
        nets, history = train_together(
            [self._inputs(part) for part in rows],
            [part.y for part in rows],
            label_sets,
            weights=[1.0, *[given] * len(tasks)],
            row_weights=[part.weight for part in rows],
            backbone=backbone,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            augmentation=augmentation,
            checkpoint=self.checkpoint,
            device=resolve_device(self.device),
            seed=seed,
            progress=self.progress,
        )
        shape = nets[0].image_shape
        self.net_ = TrainedNet(
            nets[0].net,
            own,
            shape,
            backbone=nets[0].backbone,
            device=nets[0].device,
            history=history,
        )
        self.nets_ = dict(zip(tasks, nets[1:], strict=True))
        return self._transform_target(labelled)

    def _tasks(self, source: Domain) -> dict[str, Domain]:
        """Cut the source into its tasks, by the source that a row is from."""
        groups: NDArray[Any] = (
            np.full(source.n_rows, source.name or "source")
            if source.group is None
            else np.asarray(source.group)
        )
        found = {}
        for name in np.unique(groups).tolist():
            task = source.take(np.flatnonzero(groups == name))
            if len(np.unique(task.y)) < 2:
                raise ValueError(
                    f"MultiTask needs at least two classes in each source; {name!r} has only "
                    f"{np.unique(task.y).tolist()}"
                )
            found[str(name)] = task
        return found
