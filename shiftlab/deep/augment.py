"""Random changes of standardised image batches, on the device, from a generator of their own."""

from __future__ import annotations

from dataclasses import dataclass

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

    def __post_init__(self) -> None:
        """Refuse strengths that make no sense."""
        upper = {"rotation": 180.0, "scale": 0.6, "shift": 1.0, "polarity": 1.0, "contrast": 0.95}
        for name in ("rotation", "scale", "shift", "polarity", "contrast", "noise"):
            value = getattr(self, name)
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
        if self.polarity:
            batch = torch.where(self._swapped(batch, generator), -batch, batch)
        if self.contrast:
            gain = 1.0 + self.contrast * uniform(n, 1, 1, 1)
            batch = batch * gain + self.contrast * uniform(n, 1, 1, 1)
        if self.noise:
            level = self.noise * torch.rand(n, 1, 1, 1, generator=generator, device=batch.device)
            pixels = torch.randn(batch.shape, generator=generator, device=batch.device)
            batch = batch + level * pixels
        return batch

    def _swapped(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Draw which channels of which images swap, shape (n, 1 or C, 1, 1)."""
        n, channels = batch.shape[:2]

        def draw(width: int) -> Tensor:
            return torch.rand(n, width, 1, 1, generator=generator, device=batch.device)

        together = draw(1) < self.polarity
        if channels == 1:
            return together
        return torch.where(draw(1) < 0.5, together, draw(channels) < self.polarity)
