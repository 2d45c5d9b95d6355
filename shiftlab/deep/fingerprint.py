"""A name for a training: of its data, its settings and where it starts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

__all__ = ["fingerprint"]


def fingerprint(settings: Mapping[str, Any], arrays: Iterable[Any]) -> str:
    """Hash settings and arrays, so that a snapshot of another training is not taken up.

    Parameters
    ----------
    settings : mapping of str to object
        Whose ``repr`` says what they are.
    arrays : iterable of ndarray or Tensor
        Data and weights; their dtype and shape count, too.

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
    mark = hashlib.sha256(repr(sorted(settings.items())).encode())
    for array in arrays:
        if isinstance(array, Tensor):
            array = array.detach().cpu().numpy()
        array = np.asarray(array)
        mark.update(repr((array.dtype.str, array.shape)).encode())
        data = array.astype(str) if array.dtype == object else array
        mark.update(np.ascontiguousarray(data).tobytes())
    return mark.hexdigest()
