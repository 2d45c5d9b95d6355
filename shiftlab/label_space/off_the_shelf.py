"""Outputs of a trained network's layers as features, with any shallow model on top."""

from __future__ import annotations

import dataclasses
import os
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.validation import check_is_fitted

from shiftlab.adapter import Adapter, Facts
from shiftlab.deep_adapter import comes_trained, read_trained, require_deep
from shiftlab.domain import Domain

if TYPE_CHECKING:
    from shiftlab.deep import TrainedNet

__all__ = ["OffTheShelf"]


class OffTheShelf(Adapter):
    r"""Take layers of a network that was trained on another task, and train a shallow model.

    .. math:: \min_h \frac{1}{n} \sum_i \ell\left(h(\phi_1(x_i) \oplus \dots \oplus \phi_L(x_i)),
              y_i\right)

    for the outputs :math:`\phi_l` of the chosen layers, maps averaged over their
    places. The network is not trained; `estimator` is, on the labelled target rows
    where there are any, and on the source otherwise.

    It helps with few labels, where the images are like those that the net knows: of
    16 photographs, 5 labelled patches each, middle layers of an ImageNet network
    tell .83 of other patches, its top .77, gradient histograms .19, pixels .38. It harms
    where they are not: on house numbers the best layer has .30, gradient
    histograms have .55 (``experiments/off_the_shelf``). With more labels
    :class:`FineTune` has more to gain.

    Time is one pass of the network over each image and its changed copies, and
    the estimator's fit; memory is the images and the features.

    Parameters
    ----------
    estimator : classifier, default=None
        What is trained on the features; None only maps.
    backbone : str, path, TrainedNet, torch.nn.Module or pair, default="digit_cnn"
        "efficientnet_lite0" (extra ``pretrained``), "torchvision:NAME", a ``TrainedNet`` or
        the path of one that was saved are taken as they are. "digit_cnn", or an
        untrained network, is trained on the labelled source first.
    layers : list of str, default=None
        Names of blocks; None is the features below the head.
    views : int, default=0
        Changed copies of each training image, which are trained on as well.
    test_views : int, default=0
        Changed copies of each image to predict; the probabilities of all are averaged.
    augmentation : callable, default=None
        Changes of a standardised batch, given with a generator; None is
        ``shiftlab.deep.Augmentation()``.
    cache : path, default=None
        A folder where features are kept, under a hash of the images, the
        network's weights, the layers and the changes.
    pretrain_epochs : int, default=30
        Passes over the source for a backbone that is yet to be trained.
    device : str, default="auto"
        "auto" takes CUDA, then MPS, then the CPU; or "cpu", "cuda:1", ...
    random_state : int, RandomState or None, default=None
        The same one gives the same bits on one machine.

    Attributes
    ----------
    net_ : TrainedNet
        The network that the features are of.
    estimator_ : classifier
        The fitted shallow model.
    classes_ : ndarray, shape (k,)
        Its labels.
    source_ : Domain
        What it was trained on: features of the labelled rows, then of their changed copies.

    See Also
    --------
    FineTune : Trains the network, too.
    transferability : Which layer or network to take, before anything is trained.

    References
    ----------
    .. [1] A. Razavian, H. Azizpour, J. Sullivan, S. Carlsson. CNN features off-the-shelf: an
       astounding baseline for recognition. CVPR Workshops, 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from shiftlab import Domain, OffTheShelf
    >>> rng = np.random.default_rng(0)
    >>> y = np.tile([0, 1], 16)
    >>> X = rng.integers(0, 60, (32, 12, 12), dtype=np.uint8)
    >>> X[y == 1, 3:9, 3:9] += 150
    >>> target = Domain(255 - X, np.array(["empty", "full"])[y], labelled=np.arange(32) < 16)
    >>> model = OffTheShelf(
    ...     LogisticRegression(), layers=["conv2", "conv5"], pretrain_epochs=3, random_state=0
    ... )
    >>> model.fit((X, y), target).transform(255 - X).shape
    (32, 192)
    """

    facts: ClassVar[Facts] = Facts(
        handles=("label_space",),
        assumes="Features of a network trained on another task tell the target's labels apart.",
        source_labels=True,
        target_labels="optional",
        tasks=("classification",),
        inputs=("images",),
        deep=True,
        label_sets=("new", "gone"),
        cost="one pass of the network, and a fit of the estimator",
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": [HasMethods(["fit", "predict"]), None],
        "backbone": [object],
        "layers": [list, tuple, None],
        "views": [Interval(Integral, 0, None, closed="left")],
        "test_views": [Interval(Integral, 0, None, closed="left")],
        "augmentation": [callable, None],
        "cache": [str, os.PathLike, None],
        "pretrain_epochs": [Interval(Integral, 1, None, closed="left")],
        "device": [str],
        "random_state": ["random_state"],
    }

    net_: TrainedNet

    def __init__(
        self,
        estimator: Any = None,
        *,
        backbone: Any = "digit_cnn",
        layers: list[str] | None = None,
        views: int = 0,
        test_views: int = 0,
        augmentation: Any = None,
        cache: str | os.PathLike[str] | None = None,
        pretrain_epochs: int = 30,
        device: str = "auto",
        random_state: Any = None,
    ) -> None:
        super().__init__(estimator)
        self.backbone = backbone
        self.layers = layers
        self.views = views
        self.test_views = test_views
        self.augmentation = augmentation
        self.cache = cache
        self.pretrain_epochs = pretrain_epochs
        self.device = device
        self.random_state = random_state

    def _get_facts(self) -> Facts:
        return dataclasses.replace(self.facts, source_labels=not comes_trained(self.backbone))

    def _adapt(self, source: Domain, target: Domain) -> Domain:
        require_deep("OffTheShelf")
        from shiftlab import deep
        from shiftlab.deep.layers import check_layers

        for domain, role in ((source, "source"), (target, "target")):
            if not domain.is_image:
                raise ValueError(
                    f"OffTheShelf needs images of shape (n, height, width) or (n, height, width, "
                    f"channels) and dtype uint8; {role} has shape {domain.shape}"
                )
        rows = target.labelled_part() if target.n_labelled else source.labelled_part()
        if rows.n_rows == 0:
            raise ValueError(
                "OffTheShelf has no labels to train on: neither the target nor the source has any"
            )
        rng = check_random_state(self.random_state)
        if comes_trained(self.backbone):
            shape = deep.as_image_array(target.X).shape[1:]
            self.net_ = read_trained(self.backbone, shape, self.device)
        else:
            labelled = source.labelled_part()
            self.net_ = deep.train_classifier(
                labelled.X,
                labelled.y,
                backbone=self.backbone,
                epochs=self.pretrain_epochs,
                device=self.device,
                random_state=rng,
            )
        if self.layers is not None:
            check_layers(self.net_.net, self.layers)
        self._seed = int(rng.randint(deep.LARGEST_SEED))
        parts = [self._features(rows.X, view) for view in range(self.views + 1)]
        repeated = Domain.concat([rows] * len(parts)) if self.views else rows
        return repeated.with_(X=np.concatenate(parts), feature_names=None)

    def _features(self, images: Any, view: int) -> NDArray[np.float32]:
        """Give the features of the images, or of their view-th changed copies."""
        from shiftlab.deep import Augmentation
        from shiftlab.deep.feature_cache import cached_features

        augmentation = self.augmentation
        if augmentation is None and view:
            augmentation = Augmentation()
        return cached_features(
            self.net_,
            images,
            self.layers,
            augmentation=augmentation if view else None,
            seed=self._seed + view,
            folder=None if self.cache is None else Path(self.cache),
        )

    def _transform_target(self, target: Domain) -> Domain:
        return target.with_(X=self._features(target.X, 0), feature_names=None)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Predict class probabilities, averaged over the image and its changed copies.

        Parameters
        ----------
        X : uint8 images of shape (n, H, W) or (n, H, W, C), or Domain
            Of the shape that was fitted.

        Returns
        -------
        ndarray of shape (n, k)
            Columns in the order of ``classes_``.
        """
        check_is_fitted(self, "source_")
        check_is_fitted(self, "estimator_")
        rows = self._read(X)
        # Beyond the views of the training, so that no change is the same.
        views = [0, *range(self.views + 1, self.views + 1 + self.test_views)]
        found = [self.estimator_.predict_proba(self._features(rows.X, view)) for view in views]
        mean: NDArray[np.float64] = np.mean(found, axis=0)
        return mean

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict labels.

        Parameters
        ----------
        X : uint8 images of shape (n, H, W) or (n, H, W, C), or Domain
            Of the shape that was fitted.

        Returns
        -------
        ndarray of shape (n,)
        """
        if not self.test_views:
            answers: NDArray[Any] = super().predict(X)
            return answers
        chosen: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return chosen
