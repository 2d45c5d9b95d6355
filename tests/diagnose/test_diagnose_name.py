"""The package and the function share a name; either order of imports must work."""

import inspect
import subprocess
import sys

import pytest

FIRST = "from shiftlab.diagnose import Diagnosis"
SECOND = "from shiftlab import diagnose"


@pytest.mark.parametrize("imports", [(FIRST, SECOND), (SECOND, FIRST)])
def test_function_is_reached_whatever_was_imported_first(imports):
    code = "; ".join([*imports, "print(diagnose([[0.0], [1.0]], [[0.0], [1.0]]).kind)"])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "undetermined"


def test_signature_is_that_of_the_function():
    import shiftlab.diagnose
    from shiftlab.diagnose.run import diagnose as function

    assert inspect.signature(shiftlab.diagnose) == inspect.signature(function)
