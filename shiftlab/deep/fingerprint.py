"""A name for a training: of its data, its settings and where it starts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

__all__ = ["fingerprint"]


def fingerprint(settings: Any, arrays: Iterable[Any], *, dtypes: bool = True) -> str:
    """Hash settings and arrays, so that a snapshot of another training is not taken up.

    Parameters
    ----------
    settings : object
        Its ``repr`` says what they are; of a mapping the items in the order of their names.
    arrays : iterable of ndarray or Tensor
        Data and weights; their shape counts, too.
    dtypes : bool, default=True
        Whether their dtypes count as well.

    Returns
    -------
    str

    Examples
    --------
    >>> import numpy as np
    >>> ones = np.ones(2)
    >>> fingerprint({"a": 1}, [ones]) == fingerprint({"a": 1}, [ones.copy()])
    True
    >>> fingerprint({"a": 1}, [ones]) == fingerprint({"a": 2}, [ones])
    False
    """
    what = sorted(settings.items()) if isinstance(settings, Mapping) else settings
    mark = hashlib.sha256(repr(what).encode())
    for array in arrays:
        if isinstance(array, Tensor):
            array = array.detach().cpu().numpy()
        array = np.asarray(array)
        shape = array.shape
        mark.update(repr((array.dtype.str, shape) if dtypes else shape).encode())
        data = array.astype(str) if array.dtype == object else array
        mark.update(np.ascontiguousarray(data).tobytes())
    return mark.hexdigest()
