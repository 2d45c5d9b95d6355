"""What is shown: page, terminal, JSON and recommendations."""

import io
import json
import os
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from diagnosis_cases import pair
from rich.console import Console

from shiftlab import Domain
from shiftlab.diagnosis import diagnose

EVIL = "<script>alert('x')</script> & $\\frac{a}$"


@pytest.fixture(scope="module")
def evil():
    rng = np.random.default_rng(0)

    def domain(move, name):
        frame = pd.DataFrame({EVIL: rng.normal(move, 1, 200), "b": rng.normal(size=200)})
        frame["c"] = rng.choice(["<b>bold</b>", "$x$"], 200, p=[0.5 + move / 4, 0.5 - move / 4])
        labels = np.where(rng.random(200) < 0.5 + move / 4, "<i>yes</i>", "no")
        return Domain(frame, labels, name=name)

    return diagnose(domain(0, "shop " + EVIL), domain(1, "market [bold]"), random_state=0)


def test_page_is_self_contained_and_escaped(evil, tmp_path):
    path = tmp_path / "page.html"
    text = evil.to_html(path)
    assert path.read_text(encoding="utf-8") == text
    assert os.listdir(tmp_path) == ["page.html"]
    for tag in ("<script", "<b>bold", "<i>yes", '<link rel="stylesheet', "<img", "@import"):
        assert tag not in text
    assert "&lt;script&gt;" in text
    loaded = re.findall(r'(?:src|href)="(?!#|data:)([^"]*)"', text)
    assert loaded == []
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert text.index('sl-verdict">') < text.index("Evidence") < text.index("What to do")


def test_fragment_stands_inside_another_page(evil):
    inner = evil.to_html_fragment()
    assert "<html" not in inner
    assert "<body" not in inner
    assert inner.count("<section") == inner.count("</section>") == 1
    style = inner[inner.index("<style>") + 7 : inner.index("</style>")]
    rules = re.sub(r"\}\s*\}", "}", re.sub(r"@media[^{]*\{", "", style))
    for selector in re.findall(r"([^{}]+)\{", rules):
        assert all(part.strip().startswith(".sl-diagnosis") for part in selector.split(","))


def test_page_of_200_columns_is_small():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(100, 200)), rng.normal(0.8, 1, size=(100, 200))
    diagnosis = diagnose(a, b, random_state=0)
    assert len(diagnosis.features) == 200
    assert len(diagnosis.to_html().encode()) < 500_000


def test_failed_write_keeps_the_old_file(evil, tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    path.write_text("old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        evil.to_html(path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["page.html"]


def test_json_has_every_answer_and_survives_a_round_trip(evil):
    plain = evil.to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["schema_version"] == 1
    assert set(plain["findings"]) == {
        "feature_space",
        "label_space",
        "marginal",
        "prior",
        "class_conditional",
        "conditional",
        "label_fit",
    }
    fields = {"question", "status", "statistic", "p_value", "p_adjusted", "effect", "interval"}
    for question, finding in plain["findings"].items():
        assert fields | {"minimum_effect", "details", "summary"} == set(finding)
        assert finding["question"] == question
        assert finding["summary"].endswith(".")


def test_terminal_shows_the_verdict_and_no_markup_of_names(evil):
    stream = io.StringIO()
    evil.show(Console(file=stream, width=100))
    text = stream.getvalue()
    assert "market [bold]" in text
    assert "What to do" in text
    assert evil.verdict[:30] in text


@pytest.mark.browser
@pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed")
@pytest.mark.parametrize("width", [1280, 390])
def test_page_opens_in_a_browser_without_an_error(evil, tmp_path, width):
    path = tmp_path / "page.html"
    evil.to_html(path)
    done = subprocess.run(
        [
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--window-size={width},900",
            "--dump-dom",
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "CONSOLE" not in done.stderr
    assert "sl-verdict" in done.stdout


@pytest.mark.parametrize("kind", ["none", "covariate", "label", "concept"])
@pytest.mark.parametrize("with_labels", [True, False])
def test_recommended_code_runs(kind, with_labels):
    first, second = pair(kind, 21, n=400)
    source = Domain(*first, name="a")
    target = Domain(*second, name="b") if with_labels else Domain(second[0], name="b")
    diagnosis = diagnose(source, target, random_state=0)
    recommendations = diagnosis.recommend()
    methods = [r.method for r in recommendations]
    assert "Do nothing" in methods
    assert len(set(methods)) == len(methods)
    if not diagnosis.found:
        assert methods == ["Do nothing"]
    for recommendation in recommendations:
        assert recommendation.reason.rstrip(".").count(". ") == 0
        exec(recommendation.code, {"source": source, "target": target})


def test_recommendations_follow_the_findings():
    def methods(kind, with_labels=True):
        source, target = pair(kind, 22)
        diagnosis = diagnose(source, target if with_labels else target[0], random_state=0)
        return [r.method for r in diagnosis.recommend()]

    assert methods("none") == ["Do nothing"]
    assert methods("covariate")[0] in {"ClassifierWeighting", "CORAL"}
    assert methods("label")[0] in {"PriorCorrection", "Resample"}
    assert methods("concept")[0] == "Train on target labels"
    assert methods("new class")[0] == "Train on target labels"
    assert "Label target rows" in methods("label", with_labels=False)


def test_weights_are_not_recommended_where_nothing_overlaps():
    (X, y), (T, _) = pair("covariate", 23)
    near = [r.method for r in diagnose((X, y), T, random_state=0).recommend()]
    far = [r.method for r in diagnose((X, y), T + 10 * X.std(axis=0), random_state=0).recommend()]
    assert "ClassifierWeighting" in near
    assert "ClassifierWeighting" not in far
    assert "CORAL" in far
