"""Losses of the deep adapters: pure functions on tensors, one subject a file."""

from __future__ import annotations

from shiftlab.deep.losses.adversarial import domain_loss, ramp, reverse_gradient
from shiftlab.deep.losses.centroids import centroid_labels
from shiftlab.deep.losses.class_confusion import class_confusion
from shiftlab.deep.losses.co_tuning import class_relation, co_tuning
from shiftlab.deep.losses.conditional_map import RandomMap, multilinear_map
from shiftlab.deep.losses.coral import coral, unit_spread
from shiftlab.deep.losses.discrepancy import discrepancy
from shiftlab.deep.losses.entropy import entropy, information
from shiftlab.deep.losses.feature_norm import norm_growth
from shiftlab.deep.losses.margin_disparity import margin_disparity
from shiftlab.deep.losses.mmd import joint_mmd, mmd
from shiftlab.deep.losses.moments import moment_distance
from shiftlab.deep.losses.pseudo_labels import align_distribution, pseudo_label_loss
from shiftlab.deep.losses.singular_values import smallest_singular_values
from shiftlab.deep.losses.slowness import slowness
from shiftlab.deep.losses.starting_point import feature_map_distance, starting_point
from shiftlab.deep.losses.transport import joint_cost, transport_cost
from shiftlab.deep.losses.virtual_adversarial import virtual_adversarial

__all__ = [
    "RandomMap",
    "align_distribution",
    "centroid_labels",
    "class_confusion",
    "class_relation",
    "co_tuning",
    "coral",
    "discrepancy",
    "domain_loss",
    "entropy",
    "feature_map_distance",
    "information",
    "joint_cost",
    "joint_mmd",
    "margin_disparity",
    "mmd",
    "moment_distance",
    "multilinear_map",
    "norm_growth",
    "pseudo_label_loss",
    "ramp",
    "reverse_gradient",
    "slowness",
    "smallest_singular_values",
    "starting_point",
    "transport_cost",
    "unit_spread",
    "virtual_adversarial",
]
