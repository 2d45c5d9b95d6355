"""QuaPy's estimates on the samples of ``cases.py``; run by its own Python, prints JSON lines."""

from __future__ import annotations

import json
import sys
import time
import warnings

import numpy as np
from cases import ALPHAS, NOISES, digits_case, shares
from sklearn.linear_model import LogisticRegression


def methods() -> dict[str, object]:
    from quapy.method.aggregative import ACC, CC, EMQ, PACC, PCC, KDEyML

    def model() -> LogisticRegression:
        return LogisticRegression(max_iter=1000)

    return {
        "QuaPy CC": lambda: CC(model()),
        "QuaPy PCC": lambda: PCC(model()),
        "QuaPy ACC": lambda: ACC(model()),
        "QuaPy PACC": lambda: PACC(model()),
        "QuaPy EMQ": lambda: EMQ(model()),
        "QuaPy EMQ-BCTS": lambda: EMQ.EMQ_BCTS(model()),
        "QuaPy KDEyML": lambda: KDEyML(model(), random_state=0),
    }


def main() -> None:
    seeds = int(sys.argv[1])
    warnings.simplefilter("ignore")
    for noise in NOISES:
        for alpha in ALPHAS:
            for seed in range(seeds):
                case = digits_case(noise, alpha, seed)
                for name, make in methods().items():
                    start = time.perf_counter()
                    quantifier = make()
                    quantifier.fit(case.X, case.y)
                    found = np.asarray(quantifier.predict(case.target))
                    row = {
                        "noise": noise,
                        "alpha": alpha,
                        "seed": seed,
                        "method": name,
                        "l1": float(np.abs(found - shares(case.hidden)).sum()),
                        "seconds": time.perf_counter() - start,
                    }
                    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
