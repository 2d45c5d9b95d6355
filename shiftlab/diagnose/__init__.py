"""Say how a target differs from a source: ``diagnose(source, target) -> Diagnosis``."""

import sys
from inspect import signature
from types import ModuleType

from shiftlab.diagnose.findings import FeatureShift, Finding
from shiftlab.diagnose.recommend import Recommendation
from shiftlab.diagnose.result import Diagnosis
from shiftlab.diagnose.run import diagnose

__all__ = ["Diagnosis", "FeatureShift", "Finding", "Recommendation", "diagnose"]


class _CallableModule(ModuleType):
    """Package that is callable as the function of the same name.

    Importing anything from ``shiftlab.diagnose`` binds the package to the name
    ``shiftlab.diagnose``, where the function is expected; both must work.
    """

    __call__ = staticmethod(diagnose)


__signature__ = signature(diagnose)
sys.modules[__name__].__class__ = _CallableModule
