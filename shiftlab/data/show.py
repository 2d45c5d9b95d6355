"""One picture that shows what was loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.utils import check_random_state

from ..domain import Domain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["contact_sheet"]


def contact_sheet(
    domain: Domain,
    rows: int = 4,
    columns: int = 10,
    random_state: int | np.random.RandomState | None = 0,
) -> Figure:
    """Draw random images of a domain with their labels, ordered by label.

    Images of one label stand together, so that a wrong label is seen at once.

    Parameters
    ----------
    domain : Domain
        A domain of images.
    rows : int, default=4
        Rows of the sheet.
    columns : int, default=10
        Columns of the sheet.
    random_state : int, RandomState or None, default=0
        Seed of the choice.

    Returns
    -------
    matplotlib.figure.Figure
        Save it with ``figure.savefig(path)``; no window and no global state is used.

    Raises
    ------
    ValueError
        If the domain holds no images, or ``rows`` or ``columns`` is below 1.

    Examples
    --------
    >>> from shiftlab.data import contact_sheet, load_digits5
    >>> figure = contact_sheet(load_digits5("usps", "test", source="offline"), rows=2)
    >>> len(figure.axes)
    20
    """
    from matplotlib.figure import Figure

    if not domain.is_image:
        raise ValueError(f"domain must hold images (n, H, W) or (n, H, W, C), got {domain!r}")
    if len(domain) == 0:
        raise ValueError("domain must hold at least one image, got none")
    if rows < 1 or columns < 1:
        raise ValueError(f"rows and columns must be at least 1, got {rows} and {columns}")
    rng = check_random_state(random_state)
    chosen = np.sort(rng.permutation(len(domain))[: rows * columns])
    if domain.y is not None:
        chosen = chosen[np.argsort(domain.y[chosen], kind="stable")]
    figure = Figure(figsize=(0.62 * columns, 0.78 * rows + 0.35), dpi=150, layout="constrained")
    title = domain.name or "domain"
    figure.suptitle(f"{title}: {len(chosen)} of {len(domain):,} images", fontsize=9)
    for number, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.axis("off")
        if number >= len(chosen):
            continue
        row = chosen[number]
        axes.imshow(domain.X[row], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        if domain.labelled[row]:
            axes.set_title(str(domain.y[row]), fontsize=7, pad=1.5)
    return figure
