"""Data sets: five digit domains, real tables, generators, cards, and a download cache."""

from __future__ import annotations

from shiftlab.feature_space.images import to_common_images

from .cards import Card, CardFile, list_cards, read_card
from .digits5 import DIGITS5, DigitSource, describe_digits5, load_digits5
from .download import DownloadError
from .fetch import fetch
from .gains import Gain, measured_gains
from .gaussian_shifts import GAUSSIAN_SHIFTS, make_gaussian_shift
from .raw import DataFileError
from .resources import resource_root
from .shifts import class_probabilities, make_shift
from .show import contact_sheet
from .tables import AMAZON_REVIEWS, OFFICE_CALTECH, load_amazon_reviews, load_office_caltech
from .vocabularies import change_vocabulary

__all__ = [
    "AMAZON_REVIEWS",
    "DIGITS5",
    "GAUSSIAN_SHIFTS",
    "OFFICE_CALTECH",
    "Card",
    "CardFile",
    "DataFileError",
    "DigitSource",
    "DownloadError",
    "Gain",
    "change_vocabulary",
    "class_probabilities",
    "contact_sheet",
    "describe_digits5",
    "fetch",
    "list_cards",
    "load_amazon_reviews",
    "load_digits5",
    "load_office_caltech",
    "make_gaussian_shift",
    "make_shift",
    "measured_gains",
    "read_card",
    "resource_root",
    "to_common_images",
]
