"""What a report shows beside numbers: sample images, and the diagnosis of one pair."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shiftlab.experiments.report import Sheet, figure_uri
from shiftlab.experiments.seeds import derive_seed
from shiftlab.experiments.settings import DIGIT_DOMAINS, Digit5Settings

if TYPE_CHECKING:
    from shiftlab import Diagnosis

__all__ = [
    "data_signature",
    "diagnosis_of",
    "diagnosis_title",
    "nets_and_samples",
    "sample_sheets",
]

# Enough for a test of great power on digits, and few enough to wait for.
_ROWS = 1000


def data_signature(records: Iterable[Any]) -> str:
    """Return where each domain's images come from, as one word that goes with every result."""
    return ",".join(f"{record.name}={record.kind}" for record in sorted(records, key=_name))


def _name(record: Any) -> str:
    return str(record.name)


def sample_sheets(
    settings: Digit5Settings,
    root: Path | None,
    domains: Iterable[str],
    *,
    expected: str | None = None,
) -> list[Sheet]:
    """Draw a contact sheet of each domain.

    Parameters
    ----------
    settings : Digit5Settings
        Whose ``source_data`` says where to look.
    root : Path or None
        Folder of the user's own data.
    domains : iterable of str
        Which domains.
    expected : str, default=None
        Signature of the data that results were measured on.

    Returns
    -------
    list of Sheet
        In the order of Digit-5.

    Raises
    ------
    ValueError
        If other data would be shown than the results were measured on.
    """
    from shiftlab.data import contact_sheet, describe_digits5, load_digits5

    records = describe_digits5(root, settings.source_data)  # type: ignore[arg-type]
    found = data_signature(records)
    if expected is not None and found != expected:
        raise ValueError(
            f"the results are of other data ({expected}) than what is found here ({found}); set "
            "SHIFTLAB_DATA or --root as in the run, or leave the pictures out with --no-samples"
        )
    wanted = set(domains)
    sheets = []
    for record in records:
        if record.name in wanted:
            digits = load_digits5(
                record.name,
                "train",
                channels=3,
                root=root,
                source=settings.source_data,  # type: ignore[arg-type]
            )
            image = figure_uri(contact_sheet(digits, rows=3))
            sheets.append(Sheet(record.name, image, record.kind, record.stand_in, record.note))
    return sorted(sheets, key=lambda sheet: DIGIT_DOMAINS.index(sheet.name))


def diagnosis_title(source: str, target: str, n: int) -> str:
    """Return the heading of a pair's diagnosis."""
    return f"Diagnosis of {source} against {target}, {n:,} images each"


def diagnosis_of(
    settings: Digit5Settings, root: Path | None, source: str, target: str
) -> tuple[Diagnosis, int]:
    """Diagnose two domains on up to 1,000 training images each, with labels on both sides.

    Parameters
    ----------
    settings : Digit5Settings
        Size, channels and origin of the images.
    root : Path or None
        Folder of the user's own data.
    source, target : str
        The pair.

    Returns
    -------
    (Diagnosis, int)
        The diagnosis and the number of images a side.
    """
    from shiftlab import diagnose
    from shiftlab.data import load_digits5

    domains = [
        load_digits5(
            name,
            "train",
            size=settings.size,
            channels=settings.channels,  # type: ignore[arg-type]
            root=root,
            source=settings.source_data,  # type: ignore[arg-type]
        )
        for name in (source, target)
    ]
    n = min(_ROWS, *(len(domain) for domain in domains))
    drawn = []
    for name, domain in zip((source, target), domains, strict=True):
        order = np.random.RandomState(derive_seed("diagnose", name)).permutation(len(domain))
        drawn.append(domain.take(order[:n]))
    return diagnose(*drawn, random_state=0), n


def nets_and_samples(
    rows: Sequence[Mapping[str, Any]],
    settings: Digit5Settings,
    out: Path,
    root: Path | None,
    pair: tuple[str, str],
    method: str,
) -> tuple[list[Any], list[tuple[Any, Any]]]:
    """Load the networks before and after an adaptation, and test images of both domains.

    Parameters
    ----------
    rows : sequence of mapping
        Results of one study.
    settings : Digit5Settings
        Sizes and training of the study.
    out : Path
        Its folder.
    root : Path or None
        Folder of the user's own data.
    pair : (str, str)
        Source and target.
    method : str
        A method that keeps its network.

    Returns
    -------
    (nets, samples)
        Of source-only and of the method; (images, labels) of the source and of the target.
    """
    from shiftlab.deep import TrainedNet
    from shiftlab.experiments.digit5 import Study, adapted_net, draw_digits, trained_net

    cells = [r for r in rows if (r["source"], r["target"], r["method"]) == (*pair, method)]
    cell = min(cells, key=lambda row: int(row["seed"]))
    seed = int(cell["seed"])
    paths = (
        trained_net(out, settings, pair[0], cell["source_kind"], seed),
        adapted_net(out, cell["key"]),
    )
    where = None if root is None else str(root)
    drawn = [draw_digits(Study(), settings, where, name, "test", seed) for name in pair]
    return [TrainedNet.load(path) for path in paths], [(d.X, d.y) for d in drawn]
