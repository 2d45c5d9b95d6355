"""Data sets: the five digit domains, their cards, and a download cache."""

from __future__ import annotations

from .cards import Card, CardFile, list_cards, read_card
from .digits5 import DIGITS5, DigitSource, describe_digits5, load_digits5
from .download import DownloadError
from .fetch import fetch
from .images import to_common_images
from .raw import DataFileError
from .resources import resource_root
from .shifts import class_probabilities, make_shift
from .show import contact_sheet

__all__ = [
    "DIGITS5",
    "Card",
    "CardFile",
    "DataFileError",
    "DigitSource",
    "DownloadError",
    "class_probabilities",
    "contact_sheet",
    "describe_digits5",
    "fetch",
    "list_cards",
    "load_digits5",
    "make_shift",
    "read_card",
    "resource_root",
    "to_common_images",
]
