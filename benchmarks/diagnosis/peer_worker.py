"""Ask one tool about pairs of CSV files; runs in that tool's own Python.

``python peer_worker.py TOOL`` reads one JSON object a line from standard input (``source``
and ``target``, paths of CSV files whose last column is ``label``; ``seed``) and answers each
with one line: ``alarms`` (name of a decision -> whether it says that something differs),
``type`` where the tool names one, ``seconds``; or ``error``. A line ``ready`` comes first.
Arrays are what the tool would get from a user: the target's own columns, categories as codes.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings

warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402


def read(path):
    frame = pd.read_csv(path)
    return frame.drop(columns="label"), frame["label"].to_numpy()


def codes(frame):
    """Numbers as they are, truth values as 0 and 1, categories by their alphabetical position."""
    columns = [
        frame[c].astype(float)
        if pd.api.types.is_numeric_dtype(frame[c]) or pd.api.types.is_bool_dtype(frame[c])
        else frame[c].map({"a": 0.0, "b": 1.0, "c": 2.0})
        for c in frame.columns
    ]
    return np.column_stack(columns)


def categorical(frame):
    return [j for j, c in enumerate(frame.columns) if not pd.api.types.is_float_dtype(frame[c])]


# -- shiftlab ---------------------------------------------------------------------------------


def shiftlab(source, target, seed, *, labels=True):
    from shiftlab import diagnose

    given = target if labels else target[0]
    found = diagnose(source, given, explain=False, random_state=seed)
    alarm = found.kind != "none" or found.feature_space_differs or found.label_space_differs
    kind = found.kind
    if found.feature_space_differs:
        kind = "feature_space"
    elif found.label_space_differs:
        kind = "new_class"
    return {"alarms": {"verdict": alarm}, "type": kind}


def shiftlab_unlabelled(source, target, seed):
    """Its alarm alone: without target labels no type is a fact, see the table of the power."""
    return {"alarms": shiftlab(source, target, seed, labels=False)["alarms"]}


# -- alibi-detect -----------------------------------------------------------------------------


def alibi_ks(source, target, seed):
    from alibi_detect.cd import KSDrift

    found = KSDrift(codes(source[0])).predict(codes(target[0]))
    return {"alarms": {"KS, Bonferroni": bool(found["data"]["is_drift"])}}


def alibi_tabular(source, target, seed):
    from alibi_detect.cd import TabularDrift

    groups = dict.fromkeys(categorical(source[0])) or None
    found = TabularDrift(codes(source[0]), categories_per_feature=groups).predict(codes(target[0]))
    return {"alarms": {"KS and chi-square, Bonferroni": bool(found["data"]["is_drift"])}}


def alibi_bbsd(source, target, seed):
    """Probabilities of a classifier learnt on half of the source, compared with the other half."""
    from alibi_detect.cd import KSDrift
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import train_test_split

    X, rest, y, _ = train_test_split(codes(source[0]), source[1], test_size=0.5, random_state=seed)
    model = HistGradientBoostingClassifier(random_state=seed).fit(X, y)
    found = KSDrift(rest, preprocess_fn=model.predict_proba).predict(codes(target[0]))
    return {"alarms": {"KS of the softmax": bool(found["data"]["is_drift"])}}


def alibi_chi2_labels(source, target, seed):
    from alibi_detect.cd import ChiSquareDrift

    found = ChiSquareDrift(source[1][:, None]).predict(target[1][:, None])
    return {"alarms": {"chi-square of Y": bool(found["data"]["is_drift"])}}


def alibi_c2st(source, target, seed):
    from alibi_detect.cd import ClassifierDrift
    from sklearn.ensemble import RandomForestClassifier

    model = RandomForestClassifier(random_state=seed)
    detector = ClassifierDrift(codes(source[0]), model, backend="sklearn", seed=seed)
    found = detector.predict(codes(target[0]))
    return {"alarms": {"random forest": bool(found["data"]["is_drift"])}}


def alibi_mmd(source, target, seed):
    import torch
    from alibi_detect.cd import MMDDrift

    torch.manual_seed(seed)
    x, z = (codes(f).astype(np.float32) for f in (source[0], target[0]))
    found = MMDDrift(x, backend="pytorch", device="cpu").predict(z)
    return {"alarms": {"MMD": bool(found["data"]["is_drift"])}}


# -- Evidently --------------------------------------------------------------------------------


def evidently(source, target, seed):
    from evidently import Report
    from evidently.presets import DataDriftPreset

    frames = [frame.assign(label=y.astype(str)) for frame, y in (source, target)]
    found = Report([DataDriftPreset()]).run(frames[1], frames[0]).dict()
    count = found["metrics"][0]
    return {
        "alarms": {
            "data set: half of the columns": count["value"]["share"]
            >= count["config"]["drift_share"],
            "any column": count["value"]["count"] > 0,
        }
    }


# -- DetectShift ------------------------------------------------------------------------------


def detectshift(source, target, seed, *, test=0.1):
    """Its README's steps with CatBoost; 500 permutations, five p-values at .05 each."""
    from detectshift import cdist, tests, tools

    np.random.seed(seed)  # noqa: NPY002 - the only seed that its tests listen to
    # Its data frames need columns that are named alike.
    Xs, Xt = (pd.DataFrame(codes(frame)).add_prefix("x") for frame in (source[0], target[0]))
    parts = tools.prep_data(
        Xs, source[1], Xt, target[1], test=test, task="class", random_state=seed
    )
    Xs_train, Xs_test, ys_train, ys_test, Zs_train, _ = parts[:6]
    Xt_train, Xt_test, yt_train, yt_test, Zt_train, _ = parts[6:]
    whole, covariate = tools.KL(), tools.KL()
    whole.fit(Zs_train, Zt_train)
    covariate.fit(Xs_train, Xt_train)
    density = cdist.cde_class()
    density.fit(
        pd.concat([Xs_train, Xt_train], axis=0),
        pd.concat([ys_train, yt_train], axis=0),
        random_seed=seed,
    )
    found = tests.ShiftDiagnostics(
        Xs_test, ys_test, Xt_test, yt_test, whole, covariate, None, density, "class", verbose=False
    )
    p = {name: float(result["pval"]) for name, result in found.items()}
    no = {name: value > 0.05 for name, value in p.items()}
    alarms = {"any of 5 p-values": not all(no.values()), "joint p-value": not no["tot"]}
    return {"alarms": alarms, "type": named(no), "p": p}


def named(no):
    """The type that four p-values at .05 amount to, by the same rule as ours."""
    if no["conc1"] and no["conc2"]:
        return "none" if no["cov"] and no["lab"] else "covariate_or_label"
    if not no["conc1"] and not no["conc2"]:
        return "concept" if no["cov"] else "general"
    return "covariate" if no["conc2"] else "label"


def detectshift_half(source, target, seed):
    return detectshift(source, target, seed, test=0.5)


TOOLS = (
    shiftlab,
    shiftlab_unlabelled,
    alibi_ks,
    alibi_tabular,
    alibi_bbsd,
    alibi_chi2_labels,
    alibi_c2st,
    alibi_mmd,
    evidently,
    detectshift,
    detectshift_half,
)


def main() -> None:
    # The tools may print; only answers go to the parent.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    tool = {f.__name__: f for f in TOOLS}[sys.argv[1]]
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        pair = read(job["source"]), read(job["target"])
        start = time.perf_counter()
        try:
            answer = tool(*pair, job["seed"])
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"[:200]}
        answer["seconds"] = round(time.perf_counter() - start, 3)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
