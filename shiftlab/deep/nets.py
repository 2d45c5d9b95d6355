"""A trained network with its label set and the shape of its images."""

from __future__ import annotations

import copy
import os
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags
from torch import Tensor, nn

from shiftlab.deep.backbones import BlockNet, as_block_net, build_backbone
from shiftlab.deep.checkpoint import load_checkpoint, load_weights, save_checkpoint
from shiftlab.deep.devices import resolve_device, seeded
from shiftlab.deep.inputs import as_input_array, make_store
from shiftlab.deep.mixture import MixtureHead
from shiftlab.deep.training import History

__all__ = ["TrainedNet"]

_BATCH_OF_PREDICTION = 512


class TrainedNet:
    """A trained network, the classes it tells apart and the images it takes.

    Made by :func:`train_classifier` and :meth:`load`. It can be pickled and
    deep-copied; :meth:`save` writes a file that executes nothing when loaded.

    Parameters
    ----------
    net : BlockNet
        The network; kept, not copied.
    classes : ndarray, shape (k,)
        Label of each output.
    image_shape : tuple of int
        (height, width, channels) of its images; (columns,) for a network of tables.
    backbone : str, default=""
        The name it was built by; empty for a network of the caller's own.
    device : str or torch.device, default="auto"
        Where it runs.
    history : History or None, default=None
        The training that made it.

    Attributes
    ----------
    net : BlockNet
    classes : ndarray, shape (k,)
    image_shape : tuple of int
    backbone : str
    device : torch.device
    history : History or None
    """

    def __init__(
        self,
        net: BlockNet,
        classes: NDArray[Any],
        image_shape: tuple[int, ...],
        *,
        backbone: str = "",
        device: str | torch.device = "auto",
        history: History | None = None,
    ) -> None:
        self.device = resolve_device(device)
        self.net = net.to(self.device).eval()
        self.classes = np.asarray(classes)
        self.image_shape = tuple(int(length) for length in image_shape)
        self.backbone = backbone
        self.history = history

    def __repr__(self) -> str:
        size = "x".join(map(str, self.image_shape))
        kind = "images" if len(self.image_shape) == 3 else "columns"
        name = self.backbone or "own network"
        return f"TrainedNet({name}, {len(self.classes)} classes, {kind} {size})"

    def __getstate__(self) -> dict[str, Any]:
        """Pickle from the CPU, so that a GPU's net opens on a machine without one."""
        state = dict(self.__dict__)
        state["net"] = copy.deepcopy(self.net).cpu()
        state["device"] = str(self.device)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        try:
            device = resolve_device(state["device"])
        except ValueError:
            device = resolve_device("auto")
        self.__dict__.update(state)
        self.device = device
        self.net = self.net.to(device)

    def _run(self, images: Any, *, scores: bool) -> NDArray[np.float32]:
        array = as_input_array(images, shape=self.image_shape)
        if len(array) == 0:
            # Reductions over no image warn; one blank image gives the output's width.
            blank = np.zeros((1, *self.image_shape), dtype=array.dtype)
            return self._run(blank, scores=scores)[:0]
        store = make_store(array, self.device)
        self.net.eval()
        out: list[Tensor] = []
        with torch.inference_mode():
            rows = torch.arange(len(store), device=store.pixels.device)
            for index in torch.split(rows, _BATCH_OF_PREDICTION):
                batch = store.batch(index)
                out.append(self.net(batch) if scores else self.net.embed(batch))
            joined: NDArray[np.float32] = torch.cat(out).float().cpu().numpy()
        return joined

    def decision_function(self, images: Any) -> NDArray[np.float32]:
        """Give the class scores before the softmax, always computed in float32.

        Parameters
        ----------
        images : array-like of uint8, shape (n, H, W) or (n, H, W, C)
            Of the shape the network was trained with.

        Returns
        -------
        ndarray of float32, shape (n, k)
        """
        return self._run(images, scores=True)

    def predict_proba(self, images: Any) -> NDArray[np.float64]:
        """Give class probabilities, the softmax of the scores.

        Parameters
        ----------
        images : array-like of uint8, shape (n, H, W) or (n, H, W, C)
            Of the shape the network was trained with.

        Returns
        -------
        ndarray of float64, shape (n, k)
            Columns in the order of `classes`; rows sum to 1.
        """
        scores = self.decision_function(images).astype(np.float64)
        scores -= scores.max(axis=1, keepdims=True, initial=-np.inf)
        np.exp(scores, out=scores)
        probabilities: NDArray[np.float64] = scores / scores.sum(axis=1, keepdims=True)
        return probabilities

    def predict(self, images: Any) -> NDArray[Any]:
        """Give the most probable class of each image.

        Parameters
        ----------
        images : array-like of uint8, shape (n, H, W) or (n, H, W, C)
            Of the shape the network was trained with.

        Returns
        -------
        ndarray, shape (n,)
            Of the dtype of `classes`.
        """
        predicted: NDArray[Any] = self.classes[self.decision_function(images).argmax(axis=1)]
        return predicted

    def features(self, images: Any) -> NDArray[np.float32]:
        """Give the features below the head.

        Parameters
        ----------
        images : array-like of uint8, shape (n, H, W) or (n, H, W, C)
            Of the shape the network was trained with.

        Returns
        -------
        ndarray of float32, shape (n, f)
        """
        return self._run(images, scores=False)

    def fit(self, images: Any, y: Any = None) -> TrainedNet:
        """Return the network as it is: it is trained already.

        With `transform` it is a scikit-learn transformer, so that a pipeline adapts features in
        place of pixels: ``make_pipeline(net, TCA(), LogisticRegression())``.

        Parameters
        ----------
        images : array-like of uint8, shape (n, H, W) or (n, H, W, C)
            Not used.
        y : array-like, default=None
            Not used.

        Returns
        -------
        TrainedNet
            Itself.
        """
        return self

    def transform(self, images: Any) -> NDArray[np.float32]:
        """Give the features below the head, as `features` does.

        Parameters
        ----------
        images : array-like of uint8, shape (n, H, W) or (n, H, W, C)
            Of the shape the network was trained with.

        Returns
        -------
        ndarray of float32, shape (n, f)
        """
        return self.features(images)

    def __sklearn_clone__(self) -> TrainedNet:
        return copy.deepcopy(self)  # trained, as nothing about it is ever fitted again

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Tags:
        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(),
            input_tags=InputTags(two_d_array=False, three_d_array=True),
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write weights and metadata to one safetensors file, all or nothing.

        Parameters
        ----------
        path : str or path-like
            The file; an existing one is replaced at once.
        """
        metadata: dict[str, Any] = {
            "backbone": self.backbone,
            "classes": self.classes.tolist(),
            "classes_dtype": self.classes.dtype.str if self.classes.dtype.kind != "O" else "O",
            "image_shape": list(self.image_shape),
        }
        if isinstance(self.net.head, MixtureHead):
            metadata["heads"] = len(self.net.head.heads)
        save_checkpoint(path, self.net.state_dict(), metadata)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        backbone: nn.Module | tuple[nn.Module, nn.Module] | None = None,
        device: str | torch.device = "auto",
    ) -> TrainedNet:
        """Read what :meth:`save` wrote, on any device; nothing in the file is executed.

        Parameters
        ----------
        path : str or path-like
            The file.
        backbone : torch.nn.Module or pair of them, default=None
            The network to fill (a copy is), needed when it was not built by name.
        device : str or torch.device, default="auto"
            Where it will run.

        Returns
        -------
        TrainedNet

        Raises
        ------
        ValueError
            If the file is no such checkpoint, or has other weights than the network.
        """
        state, metadata = load_checkpoint(path)
        missing = {"backbone", "classes", "classes_dtype", "image_shape"} - set(metadata)
        if missing:
            raise ValueError(
                f"{os.fspath(path)} has weights but no {sorted(missing)}: it was not written by "
                "TrainedNet.save; say what network they are of: "
                "shiftlab.deep.load_pretrained(backbone, image_shape=..., weights=path)"
            )
        shape = metadata["image_shape"]
        classes = np.array(metadata["classes"], dtype=metadata["classes_dtype"])
        name = metadata["backbone"]
        if backbone is not None:
            net = copy.deepcopy(as_block_net(backbone))
        elif name:
            with seeded(0, torch.device("cpu")):
                net = build_backbone(name, int(shape[-1]), len(classes))
        else:
            raise ValueError(
                f"{os.fspath(path)} holds a network of your own; give it as backbone= so that it "
                "can be filled"
            )
        if n_heads := metadata.get("heads", 0):
            net.head = MixtureHead(net.head, torch.ones(int(n_heads), len(classes)))
        load_weights(net, state, name=os.fspath(path))
        return cls(net, classes, tuple(shape), backbone=name, device=device)
