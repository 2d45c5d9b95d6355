"""The list of all adapters, and what they say about themselves."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module

from shiftlab.adapter import DIFFERENCES, Adapter, Difference

__all__ = ["ADAPTERS", "adapter_table", "list_adapters"]

ADAPTERS: dict[str, str] = {
    "SchemaAlignment": "shiftlab.feature_space.schema_alignment",
    "CorrelationMap": "shiftlab.feature_space.correlation_map",
    "HeterogeneousAugmentation": "shiftlab.feature_space.heterogeneous_augmentation",
    "SharedEmbedding": "shiftlab.feature_space.shared_embedding",
    "GromovWasserstein": "shiftlab.feature_space.gromov_wasserstein",
    "CoOptimalTransport": "shiftlab.feature_space.co_optimal_transport",
    "LinearGaussianMap": "shiftlab.feature_space.linear_gaussian_map",
    "DictionaryMap": "shiftlab.feature_space.dictionary_map",
    "EmbeddingMap": "shiftlab.feature_space.embedding_map",
    "StructuralCorrespondence": "shiftlab.marginal.alignment.structural_correspondence",
    "CrossLingualLSA": "shiftlab.feature_space.cross_lingual_lsa",
    "ClassifierWeighting": "shiftlab.marginal.weighting.classifier",
    "KMM": "shiftlab.marginal.weighting.kmm",
    "KLIEP": "shiftlab.marginal.weighting.kliep",
    "ULSIF": "shiftlab.marginal.weighting.ulsif",
    "RULSIF": "shiftlab.marginal.weighting.rulsif",
    "KernelDensityWeighting": "shiftlab.marginal.weighting.kernel_density",
    "GaussianWeighting": "shiftlab.marginal.weighting.gaussian",
    "NearestNeighborWeighting": "shiftlab.marginal.weighting.nearest_neighbor",
    "CORAL": "shiftlab.marginal.alignment.coral",
    "OptimalTransport": "shiftlab.marginal.alignment.optimal_transport",
    "LinearTransport": "shiftlab.marginal.alignment.linear_transport",
    "LocationScale": "shiftlab.marginal.alignment.location_scale",
    "SubspaceAlignment": "shiftlab.marginal.alignment.subspace_alignment",
    "GFK": "shiftlab.marginal.alignment.gfk",
    "TCA": "shiftlab.marginal.alignment.tca",
    "TransferJointMatching": "shiftlab.marginal.alignment.transfer_joint_matching",
    "JDA": "shiftlab.marginal.alignment.jda",
    "BalancedDistribution": "shiftlab.marginal.alignment.balanced_distribution",
    "FineTune": "shiftlab.label_space.finetune",
    "OffTheShelf": "shiftlab.label_space.off_the_shelf",
    "MultiTask": "shiftlab.label_space.multi_task",
    "PriorCorrection": "shiftlab.conditional.prior_correction",
    "Resample": "shiftlab.conditional.resample",
    "TargetShift": "shiftlab.conditional.target_shift",
    "FeatureAugmentation": "shiftlab.marginal.alignment.feature_augmentation",
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
    "DeepAdapt": "shiftlab.marginal.deep.deep_adapt",  # first: recommended before its kind
    "MCC": "shiftlab.marginal.deep.mcc",
    "CDAN": "shiftlab.marginal.deep.cdan",
    "DANN": "shiftlab.marginal.deep.dann",
    "DeepCORAL": "shiftlab.marginal.deep.deep_coral",
    "DAN": "shiftlab.marginal.deep.dan",
    "JAN": "shiftlab.marginal.deep.jan",
    "AFN": "shiftlab.marginal.deep.afn",
    "MCD": "shiftlab.marginal.deep.mcd",
    "MDD": "shiftlab.marginal.deep.mdd",
    "DeepJDOT": "shiftlab.marginal.deep.deep_jdot",
    "SelfEnsembling": "shiftlab.marginal.deep.self_ensembling",
    "AdaMatch": "shiftlab.marginal.deep.adamatch",
    "AdaBN": "shiftlab.marginal.deep.adabn",
    "TENT": "shiftlab.marginal.deep.tent",
    "SHOT": "shiftlab.marginal.deep.shot",
    "ADDA": "shiftlab.marginal.deep.adda",
    "VADA": "shiftlab.marginal.deep.vada",
    "DIRTT": "shiftlab.marginal.deep.dirt_t",
    "M3SDA": "shiftlab.marginal.deep.m3sda",
    "MultiSource": "shiftlab.marginal.multi_source",
}
"""Where each adapter lives: class name -> module. A new adapter is one line here."""

NEEDS = (
    "source_labels",
    "target_labels",
    "several_sources",
    "paired_rows",
    "dictionary",
    "word_vectors",
    "classes",
    "images",
    "torch",
)


def list_adapters(
    handles: Difference | None = None, needs: str | Iterable[str] | None = None
) -> list[type[Adapter]]:
    """List the adapters, by what they handle and need.

    Parameters
    ----------
    handles : {"feature_space", "marginal", "label_space", "conditional"}, default=None
        Only adapters that answer this difference.
    needs : str or iterable of str, default=None
        Only adapters that need all of these, of ``source_labels``, ``target_labels``,
        ``several_sources``, ``paired_rows``, ``dictionary``, ``word_vectors``, ``classes``,
        ``images`` and ``torch``.

    Returns
    -------
    list of Adapter classes
        Each with ``facts``. No torch is imported.

    Raises
    ------
    ValueError
        For a word that is none of the above.

    Examples
    --------
    >>> from shiftlab import list_adapters
    >>> [a.__name__ for a in list_adapters(handles="feature_space", needs="dictionary")]
    ['DictionaryMap']
    """
    if handles is not None and handles not in DIFFERENCES:
        raise ValueError(f"handles must be one of {', '.join(DIFFERENCES)}; got {handles!r}")
    wanted = {needs} if isinstance(needs, str) else set(needs or ())
    unknown = sorted(wanted - set(NEEDS))
    if unknown:
        raise ValueError(f"needs must be among {', '.join(NEEDS)}; got {unknown}")
    found: list[type[Adapter]] = [
        getattr(import_module(module), name) for name, module in ADAPTERS.items()
    ]
    return [
        adapter
        for adapter in found
        if (handles is None or handles in adapter.facts.handles) and wanted <= adapter.facts.needs
    ]


def adapter_table() -> str:
    """Return the adapters as a Markdown table, one row each.

    Returns
    -------
    str
        The table that stands in the README; a test compares the two.
    """
    lines = ["| adapter | difference | helps when | needs | cost |", "|---|---|---|---|---|"]
    for adapter in list_adapters():
        facts = adapter.facts
        cells = (
            f"`{adapter.__name__}`",
            ", ".join(h.replace("_", " ") for h in facts.handles),
            facts.assumes,
            ", ".join(sorted(n.replace("_", " ") for n in facts.needs)) or "-",
            facts.cost,
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)
