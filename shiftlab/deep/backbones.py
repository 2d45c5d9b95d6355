"""Networks as an ordered list of named blocks and a linear head."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["BACKBONES", "BlockNet", "as_block_net", "build_backbone", "digit_cnn", "rates_by_block"]


class BlockNet(nn.Module):
    """A network cut into `features`, an ordered list of blocks, and `head`.

    The order of the blocks, from the input up, is what "the bottom n blocks"
    and layer-wise rates refer to.

    Parameters
    ----------
    features : torch.nn.Module
        Images to features. A ``Sequential`` is one block per child; anything
        else is a single block. Its output is flattened to (n, f).
    head : torch.nn.Module
        Features to one score a class.

    Examples
    --------
    >>> net = BlockNet(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), nn.Linear(3, 2))
    >>> net.block_names
    ['0', '1']
    """

    def __init__(self, features: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.features = features
        self.head = head

    @property
    def blocks(self) -> list[nn.Module]:
        """The blocks of `features` from the input up."""
        if isinstance(self.features, nn.Sequential):
            return list(self.features)
        return [self.features]

    @property
    def block_names(self) -> list[str]:
        """The blocks' names from the input up."""
        if isinstance(self.features, nn.Sequential):
            return [name for name, _ in self.features.named_children()]
        return ["features"]

    def embed(self, batch: Tensor) -> Tensor:
        """Map images (n, C, H, W) to features (n, f)."""
        return torch.flatten(self.features(batch), 1)

    def forward(self, batch: Tensor) -> Tensor:
        """Map images (n, C, H, W) to class scores (n, k)."""
        scores: Tensor = self.head(self.embed(batch))
        return scores

    def check_freeze(self, n_blocks: int) -> None:
        """Refuse to freeze more blocks than there are.

        Parameters
        ----------
        n_blocks : int
            How many.
        """
        if not 0 <= n_blocks <= len(self.blocks):
            raise ValueError(
                f"freeze must be between 0 and {len(self.blocks)}, the number of blocks "
                f"{self.block_names}; got {n_blocks}"
            )

    def freeze_bottom(self, n_blocks: int) -> None:
        """Stop the lowest `n_blocks` blocks from training and free all others.

        Weights get no gradient. Batch-norm statistics and dropout stand still
        too, because :meth:`train` leaves frozen blocks in evaluation mode.

        Parameters
        ----------
        n_blocks : int
            From 0 (train everything) to the number of blocks (head only).
        """
        self.check_freeze(n_blocks)
        for position, block in enumerate(self.blocks):
            block.requires_grad_(position >= n_blocks)
        self._n_frozen = n_blocks

    def train(self, mode: bool = True) -> BlockNet:
        """Set training mode, except in frozen blocks."""
        super().train(mode)
        for block in self.blocks[: getattr(self, "_n_frozen", 0)]:
            block.eval()
        return self


def _conv_block(
    n_in: int, n_out: int, size: int = 3, pool: nn.Module | None = None
) -> nn.Sequential:
    layers: list[tuple[str, nn.Module]] = [
        # The batch norm that follows has the bias.
        ("conv", nn.Conv2d(n_in, n_out, size, padding=size // 2, bias=False)),
        ("norm", nn.BatchNorm2d(n_out)),
        ("act", nn.ReLU(inplace=True)),
    ]
    if pool is not None:
        layers.append(("pool", pool))
    return nn.Sequential(OrderedDict(layers))


def digit_cnn(in_channels: int, n_classes: int) -> BlockNet:
    """Build a small convolutional net for digits of about 28 x 28 pixels.

    Five convolution blocks (32, 64, 64, 128, 128 channels; batch norm, ReLU;
    2 x 2 max pooling after the first, the third and the fifth), the mean of
    each channel as 128 features, and a linear head: about 280,000 weights.
    Any image of at least 8 x 8 pixels fits.

    Parameters
    ----------
    in_channels : int
        1 for gray images, 3 for colour.
    n_classes : int
        Outputs of the head.

    Returns
    -------
    BlockNet
        Blocks "conv1" to "conv5" and the head.

    Examples
    --------
    >>> net = digit_cnn(1, 10)
    >>> net.block_names
    ['conv1', 'conv2', 'conv3', 'conv4', 'conv5']
    >>> tuple(net(torch.zeros(2, 1, 28, 28)).shape)
    (2, 10)
    """
    features = nn.Sequential(
        OrderedDict(
            [
                ("conv1", _conv_block(in_channels, 32, 5, pool=nn.MaxPool2d(2))),
                ("conv2", _conv_block(32, 64)),
                ("conv3", _conv_block(64, 64, pool=nn.MaxPool2d(2))),
                ("conv4", _conv_block(64, 128)),
                ("conv5", _conv_block(128, 128, pool=nn.AdaptiveAvgPool2d(1))),
            ]
        )
    )
    return BlockNet(features, nn.Linear(128, n_classes))


def lenet(in_channels: int, n_classes: int) -> BlockNet:
    """Build the LeNet of the domain adaptation literature, for images of 28 x 28 pixels.

    Convolutions of 20 and 50 maps (5 x 5, no padding, 2 x 2 max pooling), 500 hidden units and a
    linear head: 431,080 weights for gray images. No batch norm.

    Parameters
    ----------
    in_channels : int
        1 for gray images, 3 for colour.
    n_classes : int
        Outputs of the head.

    Returns
    -------
    BlockNet
        Blocks "conv1", "conv2", "fc" and the head.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner. Gradient-based learning applied to document
    recognition. Proceedings of the IEEE, 1998.

    Examples
    --------
    >>> net = lenet(1, 10)
    >>> tuple(net(torch.zeros(2, 1, 28, 28)).shape), sum(p.numel() for p in net.parameters())
    ((2, 10), 431080)
    """
    conv1 = [nn.Conv2d(in_channels, 20, 5), nn.MaxPool2d(2), nn.ReLU()]
    conv2 = [nn.Conv2d(20, 50, 5), nn.MaxPool2d(2), nn.ReLU()]
    fc = [nn.Flatten(), nn.Linear(800, 500), nn.ReLU()]
    blocks = {"conv1": conv1, "conv2": conv2, "fc": fc}
    features: OrderedDict[str, nn.Module] = OrderedDict(
        (name, nn.Sequential(*layers)) for name, layers in blocks.items()
    )
    return BlockNet(nn.Sequential(features), nn.Linear(500, n_classes))


class Scale(nn.Module):
    """Bring columns to mean 0 and standard deviation 1, by numbers that are set once.

    Parameters
    ----------
    n_columns : int
        Columns.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, n_columns: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_columns))
        self.register_buffer("std", torch.ones(n_columns))

    @property
    def is_set(self) -> bool:
        """Whether numbers were set, by this training or one before it."""
        return bool((self.mean != 0).any() or (self.std != 1).any())

    def set_from(self, samples: list[Tensor]) -> None:
        """Take mean and standard deviation from samples that count the same, whatever their size.

        Parameters
        ----------
        samples : list of Tensor, each of shape (n, n_columns)
        """
        means = torch.stack([rows.double().mean(dim=0) for rows in samples])
        squares = torch.stack([rows.double().var(dim=0, correction=0) for rows in samples])
        mean = means.mean(dim=0)
        std = (squares + (means - mean) ** 2).mean(dim=0).sqrt()
        self.mean.copy_(mean)
        # A constant column stays constant; dividing by its rounding error would make it noise.
        self.std.copy_(torch.where(std > 1e-6 * mean.abs(), std, 1.0))

    def forward(self, batch: Tensor) -> Tensor:
        """Scale a batch, shape (n, n_columns)."""
        return (batch - self.mean) / self.std


def mlp(in_channels: int, n_classes: int) -> BlockNet:
    """Build a small net for tables: two layers of 64 units with batch norm and ReLU.

    Columns are brought to mean 0 and standard deviation 1 first; a training sets the numbers.

    Parameters
    ----------
    in_channels : int
        Columns of the table.
    n_classes : int
        Outputs of the head.

    Returns
    -------
    BlockNet
        Blocks "scale", "fc1", "fc2" and the head.

    Examples
    --------
    >>> mlp(5, 2).block_names
    ['scale', 'fc1', 'fc2']
    """

    def layer(n_in: int) -> nn.Sequential:
        return nn.Sequential(nn.Linear(n_in, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU())

    blocks = [("scale", Scale(in_channels)), ("fc1", layer(in_channels)), ("fc2", layer(64))]
    return BlockNet(nn.Sequential(OrderedDict(blocks)), nn.Linear(64, n_classes))


BACKBONES: dict[str, Callable[[int, int], BlockNet]] = {
    "digit_cnn": digit_cnn,
    "lenet": lenet,
    "mlp": mlp,
}
"""Backbones by name; each is called with (channels or columns, n_classes)."""


def as_block_net(module: Any) -> BlockNet:
    """See a network as features and head.

    Parameters
    ----------
    module : torch.nn.Module or (torch.nn.Module, torch.nn.Module)
        A network with the attributes ``features`` and ``head``, or a pair
        (features, head).

    Returns
    -------
    BlockNet
        Around the same modules, not copies.

    Raises
    ------
    TypeError
        If it is neither.

    Examples
    --------
    >>> as_block_net((nn.Flatten(), nn.Linear(4, 2))).block_names
    ['features']
    """
    if isinstance(module, BlockNet):
        return module
    if isinstance(module, (tuple, list)) and len(module) == 2:
        features, head = module
    else:
        features, head = getattr(module, "features", None), getattr(module, "head", None)
    if not (isinstance(features, nn.Module) and isinstance(head, nn.Module)):
        raise TypeError(
            f"backbone must be a name of {sorted(BACKBONES)}, a torch.nn.Module with the modules "
            f"'features' and 'head', or a pair (features, head); got {type(module).__name__}"
        )
    return BlockNet(features, head)


def build_backbone(name: str, in_channels: int, n_classes: int) -> BlockNet:
    """Build an untrained network by its name.

    Parameters
    ----------
    name : str
        A key of :data:`BACKBONES`.
    in_channels : int
        Channels of the images, columns of the table for "mlp".
    n_classes : int
        Outputs of the head.

    Returns
    -------
    BlockNet

    Raises
    ------
    ValueError
        If there is no such name.

    Examples
    --------
    >>> build_backbone("digit_cnn", 3, 5).head.out_features
    5
    """
    if name not in BACKBONES:
        raise ValueError(f"backbone={name!r} is unknown; use one of {sorted(BACKBONES)}")
    return BACKBONES[name](in_channels, n_classes)


def rates_by_block(net: BlockNet, learning_rate: float, decay: float) -> list[float]:
    """Compute layer-wise learning rates, ``rate * decay ** (B - b)`` for block b of B.

    The head, above the last block, has the full rate; each block below has
    `decay` times the rate of the one above it (Howard and Ruder, ACL 2018).

    Parameters
    ----------
    net : BlockNet
        The network.
    learning_rate : float
        The head's rate.
    decay : float
        In (0, 1]; 1 gives every block the same rate.

    Returns
    -------
    list of float, length B + 1
        From the lowest block (b = 0) to the head (b = B).

    Examples
    --------
    >>> net = BlockNet(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), nn.Linear(3, 2))
    >>> rates_by_block(net, 1.0, 0.5)
    [0.25, 0.5, 1.0]
    """
    n_blocks = len(net.blocks)
    return [learning_rate * decay ** (n_blocks - b) for b in range(n_blocks + 1)]
