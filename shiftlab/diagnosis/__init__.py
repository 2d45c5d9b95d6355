"""Say how a target differs from a source: ``diagnose(source, target) -> Diagnosis``."""

from shiftlab.diagnosis.comparison import Comparison, ManyDiagnosis
from shiftlab.diagnosis.explanation import Explanation
from shiftlab.diagnosis.findings import FeatureShift, Finding
from shiftlab.diagnosis.many import diagnose_many
from shiftlab.diagnosis.recommend import Recommendation
from shiftlab.diagnosis.result import Diagnosis
from shiftlab.diagnosis.run import diagnose

__all__ = [
    "Comparison",
    "Diagnosis",
    "Explanation",
    "FeatureShift",
    "Finding",
    "ManyDiagnosis",
    "Recommendation",
    "diagnose",
    "diagnose_many",
]
