"""Pure functions on arrays: tests, weights, priors and corrections for many tests."""

from shiftlab.stats.label_fit import LabelFitResult, label_fit_test
from shiftlab.stats.learners import BlendedClassifier, BlendedRegressor
from shiftlab.stats.mmd import KernelResult, kernel_two_sample_test
from shiftlab.stats.multiple import benjamini_hochberg, holm
from shiftlab.stats.permutation import (
    permutation_p_value,
    rank_permutation_test,
)
from shiftlab.stats.priors import (
    EMPrior,
    bbse_prior,
    em_prior,
    label_counts,
    label_permutation_test,
    reweighted_probabilities,
    total_variation,
)
from shiftlab.stats.residual import (
    ResidualResult,
    residual_covariance_test,
    residual_product_test,
)
from shiftlab.stats.two_sample import (
    TwoSampleResult,
    auc_interval,
    classifier_two_sample_test,
    detectable_auc,
)
from shiftlab.stats.univariate import (
    UnivariateResult,
    categorical_test,
    continuous_test,
    missingness_test,
)
from shiftlab.stats.weights import effective_sample_size

__all__ = [
    "BlendedClassifier",
    "BlendedRegressor",
    "EMPrior",
    "KernelResult",
    "LabelFitResult",
    "ResidualResult",
    "TwoSampleResult",
    "UnivariateResult",
    "auc_interval",
    "bbse_prior",
    "benjamini_hochberg",
    "categorical_test",
    "classifier_two_sample_test",
    "continuous_test",
    "detectable_auc",
    "effective_sample_size",
    "em_prior",
    "holm",
    "kernel_two_sample_test",
    "label_counts",
    "label_fit_test",
    "label_permutation_test",
    "missingness_test",
    "permutation_p_value",
    "rank_permutation_test",
    "residual_covariance_test",
    "residual_product_test",
    "reweighted_probabilities",
    "total_variation",
]
