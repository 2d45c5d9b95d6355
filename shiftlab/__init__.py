"""Domain adaptation under covariate and label shift.

Given a labelled source and a target that differs from it: say how they differ, do what
helps, and prove that it helped, or say that nothing did.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from shiftlab.adapter import Adapter, Facts
    from shiftlab.against import AdaptedEstimator
    from shiftlab.conditional.balanced_weighting import BalancedWeighting
    from shiftlab.conditional.instance_pruning import InstancePruning
    from shiftlab.conditional.joint_transport import JointTransport
    from shiftlab.conditional.prior_correction import PriorCorrection
    from shiftlab.conditional.progressive_transduction import ProgressiveTransduction
    from shiftlab.conditional.resample import Resample
    from shiftlab.conditional.self_training import SelfTraining
    from shiftlab.conditional.source_regularized import SourceRegularized
    from shiftlab.conditional.target_shift import TargetShift
    from shiftlab.conditional.tradaboost import TrAdaBoost
    from shiftlab.conditional.tradaboost_r2 import TrAdaBoostR2
    from shiftlab.conditional.transfer_forest import TransferForest
    from shiftlab.conditional.transfer_gaussian_process import TransferGaussianProcess
    from shiftlab.conditional.two_stage_tradaboost_r2 import TwoStageTrAdaBoostR2
    from shiftlab.data.shifts import make_shift
    from shiftlab.diagnosis import Diagnosis, ManyDiagnosis, diagnose, diagnose_many
    from shiftlab.domain import Domain
    from shiftlab.feature_space.co_optimal_transport import CoOptimalTransport
    from shiftlab.feature_space.correlation_map import CorrelationMap
    from shiftlab.feature_space.cross_lingual_lsa import CrossLingualLSA
    from shiftlab.feature_space.dictionary_map import DictionaryMap
    from shiftlab.feature_space.embedding_map import EmbeddingMap
    from shiftlab.feature_space.gromov_wasserstein import GromovWasserstein
    from shiftlab.feature_space.heterogeneous_augmentation import HeterogeneousAugmentation
    from shiftlab.feature_space.images import to_common_images
    from shiftlab.feature_space.linear_gaussian_map import LinearGaussianMap
    from shiftlab.feature_space.schema_alignment import SchemaAlignment
    from shiftlab.feature_space.shared_embedding import SharedEmbedding
    from shiftlab.label_space.finetune import FineTune
    from shiftlab.label_space.label_mapping import LabelMapping
    from shiftlab.label_space.metrics import open_set_scores
    from shiftlab.label_space.multi_task import MultiTask
    from shiftlab.label_space.off_the_shelf import OffTheShelf
    from shiftlab.label_space.open_set import OpenSet
    from shiftlab.label_space.partial_adaptation import PartialAdaptation
    from shiftlab.label_space.transferability import transferability
    from shiftlab.label_space.universal import Universal
    from shiftlab.marginal.alignment.balanced_distribution import BalancedDistribution
    from shiftlab.marginal.alignment.coral import CORAL
    from shiftlab.marginal.alignment.feature_augmentation import FeatureAugmentation
    from shiftlab.marginal.alignment.gfk import GFK
    from shiftlab.marginal.alignment.jda import JDA
    from shiftlab.marginal.alignment.linear_transport import LinearTransport
    from shiftlab.marginal.alignment.location_scale import LocationScale
    from shiftlab.marginal.alignment.optimal_transport import OptimalTransport
    from shiftlab.marginal.alignment.structural_correspondence import StructuralCorrespondence
    from shiftlab.marginal.alignment.subspace_alignment import SubspaceAlignment
    from shiftlab.marginal.alignment.tca import TCA
    from shiftlab.marginal.alignment.transfer_joint_matching import TransferJointMatching
    from shiftlab.marginal.deep.adabn import AdaBN
    from shiftlab.marginal.deep.adamatch import AdaMatch
    from shiftlab.marginal.deep.adda import ADDA
    from shiftlab.marginal.deep.afn import AFN
    from shiftlab.marginal.deep.cdan import CDAN
    from shiftlab.marginal.deep.dan import DAN
    from shiftlab.marginal.deep.dann import DANN
    from shiftlab.marginal.deep.deep_adapt import DeepAdapt
    from shiftlab.marginal.deep.deep_coral import DeepCORAL
    from shiftlab.marginal.deep.deep_jdot import DeepJDOT
    from shiftlab.marginal.deep.dirt_t import DIRTT
    from shiftlab.marginal.deep.jan import JAN
    from shiftlab.marginal.deep.m3sda import M3SDA
    from shiftlab.marginal.deep.mcc import MCC
    from shiftlab.marginal.deep.mcd import MCD
    from shiftlab.marginal.deep.mdd import MDD
    from shiftlab.marginal.deep.self_ensembling import SelfEnsembling
    from shiftlab.marginal.deep.shot import SHOT
    from shiftlab.marginal.deep.tent import TENT
    from shiftlab.marginal.deep.vada import VADA
    from shiftlab.marginal.multi_source import MultiSource
    from shiftlab.marginal.weighting.classifier import ClassifierWeighting
    from shiftlab.marginal.weighting.gaussian import GaussianWeighting
    from shiftlab.marginal.weighting.kernel_density import KernelDensityWeighting
    from shiftlab.marginal.weighting.kliep import KLIEP
    from shiftlab.marginal.weighting.kmm import KMM
    from shiftlab.marginal.weighting.nearest_neighbor import NearestNeighborWeighting
    from shiftlab.marginal.weighting.rulsif import RULSIF
    from shiftlab.marginal.weighting.ulsif import ULSIF
    from shiftlab.pipeline import Pipeline, Transform, make_pipeline
    from shiftlab.registry import list_adapters
    from shiftlab.selection.adapt import adapt
    from shiftlab.selection.conformal import ConformalPrediction
    from shiftlab.selection.consensus import Consensus
    from shiftlab.selection.judge import validation_scores
    from shiftlab.selection.result import AdaptationResult
    from shiftlab.selection.safe_adapter import SafeAdapter
    from shiftlab.selection.search import AdaptationSearch
    from shiftlab.selection.validators.accuracy import ATC, DoC, LabelShiftAdjusted
    from shiftlab.selection.validators.base import Validator
    from shiftlab.selection.validators.oracle import Oracle
    from shiftlab.selection.validators.source_risk import DEV, ImportanceWeightedScore, SourceScore
    from shiftlab.selection.validators.structure import CircularScore, ClassClustering, MixVal
    from shiftlab.selection.validators.target_outputs import BNM, SND, InfoMax, PredictionEntropy

# Where each public name lives. Names are looked up on first use, so that importing the
# package costs nothing and never imports torch.
_HOMES = {
    "AdaMatch": "shiftlab.marginal.deep.adamatch",
    "AdaBN": "shiftlab.marginal.deep.adabn",
    "TENT": "shiftlab.marginal.deep.tent",
    "SHOT": "shiftlab.marginal.deep.shot",
    "ADDA": "shiftlab.marginal.deep.adda",
    "VADA": "shiftlab.marginal.deep.vada",
    "DIRTT": "shiftlab.marginal.deep.dirt_t",
    "M3SDA": "shiftlab.marginal.deep.m3sda",
    "MultiSource": "shiftlab.marginal.multi_source",
    "DAN": "shiftlab.marginal.deep.dan",
    "JAN": "shiftlab.marginal.deep.jan",
    "AFN": "shiftlab.marginal.deep.afn",
    "MCD": "shiftlab.marginal.deep.mcd",
    "MDD": "shiftlab.marginal.deep.mdd",
    "DeepJDOT": "shiftlab.marginal.deep.deep_jdot",
    "SelfEnsembling": "shiftlab.marginal.deep.self_ensembling",
    "DeepAdapt": "shiftlab.marginal.deep.deep_adapt",
    "DeepCORAL": "shiftlab.marginal.deep.deep_coral",
    "DANN": "shiftlab.marginal.deep.dann",
    "CDAN": "shiftlab.marginal.deep.cdan",
    "MCC": "shiftlab.marginal.deep.mcc",
    "Adapter": "shiftlab.adapter",
    "AdaptedEstimator": "shiftlab.against",
    "CORAL": "shiftlab.marginal.alignment.coral",
    "ClassifierWeighting": "shiftlab.marginal.weighting.classifier",
    "Diagnosis": "shiftlab.diagnosis",
    "GaussianWeighting": "shiftlab.marginal.weighting.gaussian",
    "KLIEP": "shiftlab.marginal.weighting.kliep",
    "KMM": "shiftlab.marginal.weighting.kmm",
    "KernelDensityWeighting": "shiftlab.marginal.weighting.kernel_density",
    "ManyDiagnosis": "shiftlab.diagnosis",
    "Domain": "shiftlab.domain",
    "Facts": "shiftlab.adapter",
    "FeatureAugmentation": "shiftlab.marginal.alignment.feature_augmentation",
    "FineTune": "shiftlab.label_space.finetune",
    "MultiTask": "shiftlab.label_space.multi_task",
    "OffTheShelf": "shiftlab.label_space.off_the_shelf",
    "NearestNeighborWeighting": "shiftlab.marginal.weighting.nearest_neighbor",
    "LinearTransport": "shiftlab.marginal.alignment.linear_transport",
    "LocationScale": "shiftlab.marginal.alignment.location_scale",
    "OptimalTransport": "shiftlab.marginal.alignment.optimal_transport",
    "Pipeline": "shiftlab.pipeline",
    "PriorCorrection": "shiftlab.conditional.prior_correction",
    "RULSIF": "shiftlab.marginal.weighting.rulsif",
    "Resample": "shiftlab.conditional.resample",
    "SchemaAlignment": "shiftlab.feature_space.schema_alignment",
    "CoOptimalTransport": "shiftlab.feature_space.co_optimal_transport",
    "CorrelationMap": "shiftlab.feature_space.correlation_map",
    "CrossLingualLSA": "shiftlab.feature_space.cross_lingual_lsa",
    "StructuralCorrespondence": "shiftlab.marginal.alignment.structural_correspondence",
    "DictionaryMap": "shiftlab.feature_space.dictionary_map",
    "EmbeddingMap": "shiftlab.feature_space.embedding_map",
    "GromovWasserstein": "shiftlab.feature_space.gromov_wasserstein",
    "HeterogeneousAugmentation": "shiftlab.feature_space.heterogeneous_augmentation",
    "LinearGaussianMap": "shiftlab.feature_space.linear_gaussian_map",
    "SharedEmbedding": "shiftlab.feature_space.shared_embedding",
    "Transform": "shiftlab.pipeline",
    "ULSIF": "shiftlab.marginal.weighting.ulsif",
    "BalancedDistribution": "shiftlab.marginal.alignment.balanced_distribution",
    "GFK": "shiftlab.marginal.alignment.gfk",
    "JDA": "shiftlab.marginal.alignment.jda",
    "SubspaceAlignment": "shiftlab.marginal.alignment.subspace_alignment",
    "TCA": "shiftlab.marginal.alignment.tca",
    "TargetShift": "shiftlab.conditional.target_shift",
    "TransferJointMatching": "shiftlab.marginal.alignment.transfer_joint_matching",
    "TrAdaBoost": "shiftlab.conditional.tradaboost",
    "TrAdaBoostR2": "shiftlab.conditional.tradaboost_r2",
    "TwoStageTrAdaBoostR2": "shiftlab.conditional.two_stage_tradaboost_r2",
    "SelfTraining": "shiftlab.conditional.self_training",
    "BalancedWeighting": "shiftlab.conditional.balanced_weighting",
    "InstancePruning": "shiftlab.conditional.instance_pruning",
    "JointTransport": "shiftlab.conditional.joint_transport",
    "SourceRegularized": "shiftlab.conditional.source_regularized",
    "PartialAdaptation": "shiftlab.label_space.partial_adaptation",
    "LabelMapping": "shiftlab.label_space.label_mapping",
    "OpenSet": "shiftlab.label_space.open_set",
    "Universal": "shiftlab.label_space.universal",
    "ProgressiveTransduction": "shiftlab.conditional.progressive_transduction",
    "TransferGaussianProcess": "shiftlab.conditional.transfer_gaussian_process",
    "TransferForest": "shiftlab.conditional.transfer_forest",
    "AdaptationSearch": "shiftlab.selection.search",
    "SafeAdapter": "shiftlab.selection.safe_adapter",
    "ConformalPrediction": "shiftlab.selection.conformal",
    "Consensus": "shiftlab.selection.consensus",
    "AdaptationResult": "shiftlab.selection.result",
    "adapt": "shiftlab.selection.adapt",
    "validation_scores": "shiftlab.selection.judge",
    "Validator": "shiftlab.selection.validators.base",
    "SourceScore": "shiftlab.selection.validators.source_risk",
    "ImportanceWeightedScore": "shiftlab.selection.validators.source_risk",
    "DEV": "shiftlab.selection.validators.source_risk",
    "BNM": "shiftlab.selection.validators.target_outputs",
    "SND": "shiftlab.selection.validators.target_outputs",
    "InfoMax": "shiftlab.selection.validators.target_outputs",
    "PredictionEntropy": "shiftlab.selection.validators.target_outputs",
    "ATC": "shiftlab.selection.validators.accuracy",
    "DoC": "shiftlab.selection.validators.accuracy",
    "LabelShiftAdjusted": "shiftlab.selection.validators.accuracy",
    "CircularScore": "shiftlab.selection.validators.structure",
    "ClassClustering": "shiftlab.selection.validators.structure",
    "MixVal": "shiftlab.selection.validators.structure",
    "Oracle": "shiftlab.selection.validators.oracle",
    "diagnose": "shiftlab.diagnosis",
    "diagnose_many": "shiftlab.diagnosis",
    "make_shift": "shiftlab.data.shifts",
    "list_adapters": "shiftlab.registry",
    "to_common_images": "shiftlab.feature_space.images",
    "make_pipeline": "shiftlab.pipeline",
    "open_set_scores": "shiftlab.label_space.metrics",
    "transferability": "shiftlab.label_space.transferability",
}

__all__ = [
    "ADDA",
    "AFN",
    "ATC",
    "BNM",
    "CDAN",
    "CORAL",
    "DAN",
    "DANN",
    "DEV",
    "DIRTT",
    "GFK",
    "JAN",
    "JDA",
    "KLIEP",
    "KMM",
    "M3SDA",
    "MCC",
    "MCD",
    "MDD",
    "RULSIF",
    "SHOT",
    "SND",
    "TCA",
    "TENT",
    "ULSIF",
    "VADA",
    "AdaBN",
    "AdaMatch",
    "AdaptationResult",
    "AdaptationSearch",
    "AdaptedEstimator",
    "Adapter",
    "BalancedDistribution",
    "BalancedWeighting",
    "CircularScore",
    "ClassClustering",
    "ClassifierWeighting",
    "CoOptimalTransport",
    "ConformalPrediction",
    "Consensus",
    "CorrelationMap",
    "CrossLingualLSA",
    "DeepAdapt",
    "DeepCORAL",
    "DeepJDOT",
    "Diagnosis",
    "DictionaryMap",
    "DoC",
    "Domain",
    "EmbeddingMap",
    "Facts",
    "FeatureAugmentation",
    "FineTune",
    "GaussianWeighting",
    "GromovWasserstein",
    "HeterogeneousAugmentation",
    "ImportanceWeightedScore",
    "InfoMax",
    "InstancePruning",
    "JointTransport",
    "KernelDensityWeighting",
    "LabelMapping",
    "LabelShiftAdjusted",
    "LinearGaussianMap",
    "LinearTransport",
    "LocationScale",
    "ManyDiagnosis",
    "MixVal",
    "MultiSource",
    "MultiTask",
    "NearestNeighborWeighting",
    "OffTheShelf",
    "OpenSet",
    "OptimalTransport",
    "Oracle",
    "PartialAdaptation",
    "Pipeline",
    "PredictionEntropy",
    "PriorCorrection",
    "ProgressiveTransduction",
    "Resample",
    "SafeAdapter",
    "SchemaAlignment",
    "SelfEnsembling",
    "SelfTraining",
    "SharedEmbedding",
    "SourceRegularized",
    "SourceScore",
    "StructuralCorrespondence",
    "SubspaceAlignment",
    "TargetShift",
    "TrAdaBoost",
    "TrAdaBoostR2",
    "TransferForest",
    "TransferGaussianProcess",
    "TransferJointMatching",
    "Transform",
    "TwoStageTrAdaBoostR2",
    "Universal",
    "Validator",
    "__version__",
    "adapt",
    "diagnose",
    "diagnose_many",
    "list_adapters",
    "make_pipeline",
    "make_shift",
    "open_set_scores",
    "to_common_images",
    "transferability",
    "validation_scores",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'shiftlab' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
