"""Say how a target differs from a source: ``diagnose(source, target) -> Diagnosis``."""

from shiftlab.diagnosis.findings import FeatureShift, Finding
from shiftlab.diagnosis.recommend import Recommendation
from shiftlab.diagnosis.result import Diagnosis
from shiftlab.diagnosis.run import diagnose

__all__ = ["Diagnosis", "FeatureShift", "Finding", "Recommendation", "diagnose"]
