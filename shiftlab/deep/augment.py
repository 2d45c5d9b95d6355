"""Random changes of standardised image batches, on the device, from a generator of their own."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Augmentation", "affine_matrices"]


def affine_matrices(angle: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Build the sampling matrices ``[R(angle) / scale | -shift]`` of an affine change.

    An output pixel at ``p`` (coordinates in [-1, 1]) is read from the input at
    ``R(angle) p / scale - shift``: the picture turns, grows by `scale`, and
    moves by `shift` half-widths.

    Parameters
    ----------
    angle : Tensor, shape (n,)
        Radians.
    scale : Tensor, shape (n, 2)
        Growth along x and y.
    shift : Tensor, shape (n, 2)
        Move along x and y, in half widths.

    Returns
    -------
    Tensor, shape (n, 2, 3)

    Examples
    --------
    >>> affine_matrices(torch.zeros(1), torch.ones(1, 2), torch.zeros(1, 2))[0].tolist()
    [[1.0, -0.0, -0.0], [0.0, 1.0, -0.0]]
    """
    cos, sin = torch.cos(angle), torch.sin(angle)
    first = torch.stack([cos / scale[:, 0], -sin / scale[:, 1], -shift[:, 0]], dim=1)
    second = torch.stack([sin / scale[:, 0], cos / scale[:, 1], -shift[:, 1]], dim=1)
    return torch.stack([first, second], dim=1)


@dataclass(frozen=True)
class Augmentation:
    """How strongly training images are changed at random; 0 turns a change off.

    Every image of a batch draws its own values: an affine change (one bilinear
    ``grid_sample``), then a swap of dark and bright, a gain and an offset, and
    pixel noise. The input is standardised (mean 0, standard deviation 1 in an
    image), so `contrast`, and `noise` are in units of the image's own standard
    deviation, and the swap is a change of sign.

    Parameters
    ----------
    rotation : float, default=12.0
        Largest angle in degrees, uniform on both sides.
    scale : float, default=0.15
        Width and height grow by independent uniform factors in ``1 +- scale``,
        times a common one in the same range.
    shift : float, default=0.08
        Largest move as a part of the width, uniform, along each axis.
    polarity : float, default=0.5
        Chance of swapping dark and bright. It makes a net that was trained on
        bright strokes read dark ones too. In half of the colour images all
        channels swap together, in the others each for itself, which turns
        white strokes on black into strokes of one colour on another.
    contrast : float, default=0.3
        Gain uniform in ``1 +- contrast``, offset uniform in ``+- contrast``.
    noise : float, default=0.1
        The noise's standard deviation is uniform in [0, noise].
    background : float, default=0.0
        Chance that an image on plain ground, brought to values x in [0, 1], becomes
        ``b + x (1 - 2 b)`` for a smooth random field b of colours, and is standardised again:
        what was dark shows b, what was bright its negative. It makes a net that was trained on
        plain grounds read strokes on textured ones. The ground is plain where a quarter of the
        values lie within a twentieth of the range from the lowest, or from the highest;
        other images have a ground of their own already and stay as they are.
    hole : float, default=0.0
        Side of a square, as a part of the width, that becomes the image's mean, its middle
        anywhere: what it hides has to be read from the rest.

    References
    ----------
    T. DeVries, G. W. Taylor. Improved regularization of convolutional neural networks with cutout.
    arXiv:1708.04552, 2017 (`hole`).

    Examples
    --------
    >>> generator = torch.Generator().manual_seed(0)
    >>> out = Augmentation()(torch.randn(4, 1, 8, 8, generator=generator), generator)
    >>> tuple(out.shape)
    (4, 1, 8, 8)
    """

    rotation: float = 12.0
    scale: float = 0.15
    shift: float = 0.08
    polarity: float = 0.5
    contrast: float = 0.3
    noise: float = 0.1
    background: float = 0.0
    hole: float = 0.0

    def __post_init__(self) -> None:
        """Refuse strengths that make no sense."""
        upper = {"rotation": 180.0, "scale": 0.6, "shift": 1.0, "polarity": 1.0, "contrast": 0.95}
        upper |= {"background": 1.0, "hole": 1.0}
        for name, value in asdict(self).items():
            limit = upper.get(name, float("inf"))
            if not 0.0 <= value <= limit:
                raise ValueError(f"{name} must be between 0 and {limit}, got {value!r}")

    def __call__(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Change a standardised batch; every draw comes from `generator`.

        Parameters
        ----------
        batch : Tensor of float, shape (n, C, H, W)
            Standardised images.
        generator : torch.Generator
            On the batch's device.

        Returns
        -------
        Tensor of float, shape (n, C, H, W)
        """
        n = batch.shape[0]

        def uniform(*shape: int) -> Tensor:
            drawn = torch.rand(*shape, generator=generator, device=batch.device)
            return drawn.mul_(2.0).sub_(1.0)

        if self.rotation or self.scale or self.shift:
            angle = uniform(n) * (self.rotation * torch.pi / 180.0)
            growth = (1.0 + self.scale * uniform(n, 2)) * (1.0 + self.scale * uniform(n, 1))
            move = uniform(n, 2) * (2.0 * self.shift)
            grid = F.affine_grid(
                affine_matrices(angle, growth, move), list(batch.shape), align_corners=False
            )
            # Border padding: a frame of zeros would draw an edge around every
            # photograph, and gray images have no neutral value either.
            batch = F.grid_sample(batch, grid, padding_mode="border", align_corners=False)
        if self.background:
            drawn = torch.rand(n, 1, 1, 1, generator=generator, device=batch.device)
            shown = (drawn < self.background) & _on_plain_ground(batch)
            batch = torch.where(shown, _on_field(batch, generator), batch)
        if self.polarity:
            batch = torch.where(self._swapped(batch, generator), -batch, batch)
        if self.contrast:
            gain = 1.0 + self.contrast * uniform(n, 1, 1, 1)
            batch = batch * gain + self.contrast * uniform(n, 1, 1, 1)
        if self.noise:
            level = self.noise * torch.rand(n, 1, 1, 1, generator=generator, device=batch.device)
            pixels = torch.randn(batch.shape, generator=generator, device=batch.device)
            batch = batch + level * pixels
        if self.hole:
            batch = batch.masked_fill(self._hidden(batch, generator), 0.0)
        return batch

    def _hidden(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Draw the pixels of the hole of each image, shape (n, 1, H, W)."""
        n, _, height, width = batch.shape
        middle = torch.rand(n, 2, generator=generator, device=batch.device)

        def near(side: int, part: Tensor) -> Tensor:
            centres = torch.arange(side, device=batch.device) + 0.5
            return (centres - side * part[:, None]).abs() < self.hole * width / 2.0

        rows, columns = near(height, middle[:, 0]), near(width, middle[:, 1])
        return rows[:, None, :, None] & columns[:, None, None, :]

    def _swapped(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Draw which channels of which images swap, shape (n, 1 or C, 1, 1)."""
        n, channels = batch.shape[:2]

        def draw(width: int) -> Tensor:
            return torch.rand(n, width, 1, 1, generator=generator, device=batch.device)

        together = draw(1) < self.polarity
        if channels == 1:
            return together
        return torch.where(draw(1) < 0.5, together, draw(channels) < self.polarity)


_CELLS = (3, 6, 10, 18)
"""Cells along a side of the layers that a random field is the sum of: from clouds to grain."""


def _on_plain_ground(batch: Tensor) -> Tensor:
    """Find images a quarter of which is as dark, or as bright, as anything in them."""
    low, high = batch.amin((1, 2, 3), keepdim=True), batch.amax((1, 2, 3), keepdim=True)
    near = 0.05 * (high - low)
    dark = (batch <= low + near).float().mean((1, 2, 3), keepdim=True)
    bright = (batch >= high - near).float().mean((1, 2, 3), keepdim=True)
    return torch.maximum(dark, bright) >= 0.25


def _on_field(batch: Tensor, generator: torch.Generator) -> Tensor:
    """Show a batch on random fields: ``b + x (1 - 2 b)``, standardised again."""
    n, channels, height, width = batch.shape

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=batch.device)

    low, high = batch.amin((1, 2, 3), keepdim=True), batch.amax((1, 2, 3), keepdim=True)
    unit = (batch - low) / (high - low).clamp_min(1e-6)
    # One colour for the whole, and a texture of brightness with a little colour. Where the texture
    # is deep the values are cut off at black and white, which makes hard edges.
    field = draw(n, 1, 1, 1) + 0.4 * (draw(n, channels, 1, 1) - 0.5)
    depth = 0.2 * 20.0 ** draw(n, 1, 1, 1)
    share = draw(n, len(_CELLS), 1, 1) ** 2
    share = share / share.sum(dim=1, keepdim=True)
    for layer, cells in enumerate(_CELLS):
        coarse = draw(n, 1, cells, cells) - 0.5 + 0.3 * (draw(n, channels, cells, cells) - 0.5)
        smooth = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=True)
        field = field + depth * share[:, layer : layer + 1] * smooth
    field = field.clamp(0.0, 1.0)
    shown = field + unit * (1.0 - 2.0 * field)
    std, mean = torch.std_mean(shown, dim=(1, 2, 3), keepdim=True, correction=0)
    return ((shown - mean) / std.clamp_min(1e-2)).contiguous(memory_format=torch.channels_last)
