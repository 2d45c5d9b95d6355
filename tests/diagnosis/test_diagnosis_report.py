"""What is shown: page, terminal, JSON and recommendations."""

import io
import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from diagnosis_cases import pair
from rich.console import Console

from shiftlab import Domain
from shiftlab.diagnosis import diagnose
from shiftlab.diagnosis.explanation import (
    AccuracyEstimate,
    DomainMap,
    Explanation,
    LabelPlan,
    LossDecomposition,
    Performance,
    Region,
    UnlikeRow,
)
from shiftlab.diagnosis.findings import FeatureShift, Finding
from shiftlab.diagnosis.report import plots
from shiftlab.diagnosis.report.words import answer, judged, measures, scalars

EVIL = "<script>alert('x')</script> & $\\frac{a}$"


@pytest.fixture(scope="module")
def evil():
    rng = np.random.default_rng(0)

    def domain(move, name):
        frame = pd.DataFrame({EVIL: rng.normal(move, 1, 200), "b": rng.normal(size=200)})
        frame["c"] = rng.choice(["<b>bold</b>", "$x$"], 200, p=[0.5 + move / 4, 0.5 - move / 4])
        labels = np.where(rng.random(200) < 0.5 + move / 4, "<i>yes</i>", "no")
        return Domain(frame, labels, name=name)

    return diagnose(
        domain(0, "shop " + EVIL), domain(1, "market [bold]"), explain=False, random_state=0
    )


def explained(diagnosis, **parts):
    """The diagnosis with every part of an explanation, made by hand."""
    rng = np.random.default_rng(5)
    filled = Explanation(
        performance=Performance(
            "accuracy",
            0.84,
            (0.82, 0.86),
            0.71,
            (0.68, 0.74),
            (AccuracyEstimate("average <b>", 0.8, (0.7, 0.9), "that <i>holds</i>", "It fails."),),
            LossDecomposition(0.13, 0.04, 0.09, (0.1, 0.16), (-0.01, 0.07), (0.05, 0.12)),
            "The model loses 13 points.",
        ),
        regions=(
            Region(f"{EVIL} > 52", 0.04, 0.2, 5.0, (3.9, 7.1), 0.001, "differs"),
            Region("b > 70", 0.0, 0.03, np.inf, (4.0, np.inf), 0.01, "differs"),
            Region("c is '$x$'", 0.1, 0.12, 1.2, (0.8, 1.4), 0.7, "no_evidence"),
        ),
        unlike=(UnlikeRow(17, 0.98, f"{EVIL} is 88"),),
        plan=LabelPlan(230, 0.1, 0.8, ((50, 0.3), (400, 0.95)), (4, 11), "230 labels settle it."),
        map=DomainMap(
            tuple(map(tuple, rng.normal(size=(500, 2)))),
            tuple(map(tuple, rng.normal(1, 1, size=(500, 2)))),
            ("first", "second"),
            "Two components.",
        ),
        missing={"power": "power could not be made: too few rows"},
    )
    features = [
        replace(f, task_importance=0.1 / (i + 1), domain_importance=0.05)
        for i, f in enumerate(diagnosis.features)
    ]
    return replace(diagnosis, features=features, explanation=replace(filled, **parts))


def test_page_is_self_contained_and_escaped(evil, tmp_path):
    path = tmp_path / "page.html"
    text = explained(evil).to_html()
    assert explained(evil).to_html(path) == path
    assert path.read_text(encoding="utf-8") == text
    assert os.listdir(tmp_path) == ["page.html"]
    for tag in ("<script", "<b>bold", "<i>yes", '<link rel="stylesheet', "<img", "@import"):
        assert tag not in text
    assert "&lt;script&gt;" in text
    loaded = re.findall(r'(?:src|href)="(?!#|data:)([^"]*)"', text)
    assert loaded == []
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert text.index('sl-verdict">') < text.index(">Evidence<") < text.index(">What to do<")


SECTIONS = {
    "performance": ">What it costs</h2>",
    "regions": "Regions with more",
    "unlike": "look least like the source",
    "plan": "What labels would settle",
    "map": "Both in two dimensions",
}


@pytest.mark.parametrize("part", SECTIONS)
def test_a_part_that_is_missing_vanishes_alone(evil, part):
    without = explained(evil, **{part: () if part in ("regions", "unlike") else None}).to_html()
    assert {name: mark in without for name, mark in SECTIONS.items()} == {
        name: name != part for name in SECTIONS
    }
    bare = replace(evil, explanation=Explanation()).to_html()
    assert not any(mark in bare for mark in SECTIONS.values())
    assert "Not shown: power could not be made: too few rows" in without


def test_cost_regions_and_plan_are_told_in_numbers(evil):
    text = explained(evil).to_html()
    for told in ("84.0%", "71.0%", "+13.0", "+4.0", "+9.0", "Doubtful here: It fails."):
        assert told in text
    for told in ("5 times", "only in the target", "1.2 times", "4, 11", "230 labels"):
        assert told in text
    regression = replace(
        explained(evil).explanation.performance, metric="squared error", source=0.4, target=1.25
    )
    text = explained(evil, performance=regression).to_html()
    assert ">0.4<" in text
    assert ">1.25<" in text
    assert "+0.13" in text
    assert "points of accuracy" not in text


def test_scatter_names_only_columns_that_moved_and_matter():
    def column(name, effect, importance, status):
        return FeatureShift(name, status, "t", effect=effect, task_importance=importance)

    svg = plots.importance_scatter(
        [
            column("both", 0.6, 0.2, "differs"),
            column("moved only", 0.7, 0.001, "differs"),
            column("needed only", 0.03, 0.25, "no_evidence"),
        ]
    )
    assert re.findall(r'class="sl-name">([^<]*)<', svg) == ["both"]
    assert plots.importance_scatter([FeatureShift("x", "differs", "t", effect=0.5)]) == ""


def test_prior_bars_have_intervals_even_where_no_row_was_seen():
    def bars(**details):
        prior = {"classes": ["a", "b"], "source_prior": [0.5, 0.5], "target_prior": [0.0, 1.0]}
        sizes = {"n_source": 100, "n_target": 40}
        return plots.prior_bars(Finding("prior", "differs", "s", details=prior | sizes | details))

    def whiskers(svg):
        found = re.findall(r'class="sl-whisker" d="M([\d.]+) [\d.]+H([\d.]+)', svg)
        return np.array(found, dtype=float)

    counted = whiskers(bars())
    # Wilson's interval of 0 of 40 is 0 to z^2 / (n + z^2); the scale runs from 0 to 1
    z2 = 1.96**2
    zero, one = counted[1, 0], counted[3, 1]
    assert (counted[1, 1] - zero) / (one - zero) == pytest.approx(z2 / (40 + z2), abs=1e-3)
    estimated = whiskers(bars(target_prior_standard_error=[0.01, 0.01]))
    assert (estimated[1, 1] - zero) / (one - zero) == pytest.approx(0.0196, abs=1e-3)


def test_answers_are_worded_as_answers():
    assert answer(Finding("label_fit", "differs", "s")) == "no"
    assert answer(Finding("marginal", "no_evidence", "s")) == "no difference found"
    settled = Finding.not_testable("label_fit", "s", answered_elsewhere=True)
    assert (answer(settled), judged(settled)) == ("answered above", "settled")
    failed = Finding.not_testable("conditional", "s")
    assert (answer(failed), judged(failed)) == ("not testable", "not_testable")
    tested = Finding("marginal", "differs", "s", 3.0, 1e-9, 0.04, 0.7, (0.6, 0.8), 0.55)
    assert measures(tested) == (
        "Effect: 0.7, 95% interval 0.6 to 0.8; 0.55 is usually the least that matters; "
        "raw p < 0.001; corrected p = 0.04"
    )
    details = {"mmd": np.float64(0.25), "p_kernel": 1e-5, "prior": [0.5, 0.5], "n": None}
    assert scalars(Finding("x", "differs", "s", details=details)) == {
        "mmd": "0.25",
        "p kernel": "< 0.001",
    }


def test_colours_have_enough_contrast(evil):
    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return np.dot(linear, [0.2126, 0.7152, 0.0722])

    def contrast(*colours):
        low, high = sorted(map(luminance, colours))
        return (high + 0.05) / (low + 0.05)

    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    style = re.search(r"<style>(.*?)</style>", evil.to_html_fragment(), re.DOTALL)[1]
    seen = 0
    for rule in re.findall(r"\{([^{}]*)\}", style):
        ink = re.search(r"(?:^|[ ;])(?:color|fill): (#[0-9a-f]{6})", rule)
        paper = re.search(r"background: (#[0-9a-f]{6})", rule)
        if ink:
            seen += 1
            assert contrast(ink[1], paper[1] if paper else "#ffffff") >= 4.5, rule
    assert seen > 10
    for mark in (plots.SOURCE, plots.TARGET, plots.MOVED, plots.STEADY):
        assert contrast(mark, "#ffffff") >= 3


def test_fragment_stands_inside_another_page(evil):
    inner = evil.to_html_fragment()
    assert "<html" not in inner
    assert "<body" not in inner
    assert inner.count("<section") == inner.count("</section>") == 1
    style = inner[inner.index("<style>") + 7 : inner.index("</style>")]
    rules = re.sub(r"\}\s*\}", "}", re.sub(r"@media[^{]*\{", "", style))
    for selector in re.findall(r"([^{}]+)\{", rules):
        assert all(part.strip().startswith(".sl-diagnosis") for part in selector.split(","))


NAMES = {
    "right to left": "\u0639\u0645\u0648\u062f " * 9,
    "turned": "\u202egnp.exe",
    "emoji": "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "wide": "\u5217" * 60,
    "long": "x" * 3000,
    "escape": "a\nb\x1b[31mred",
    "half": "\udc80",
}


def test_names_cannot_act_on_what_stands_around_them(evil, tmp_path):
    features = [
        replace(evil.features[0], feature=name, task_importance=0.1) for name in NAMES.values()
    ]
    hostile = replace(explained(evil), features=features, source_name=NAMES["turned"])
    text = hostile.to_html()
    assert NAMES["long"][:400] not in text
    for sign in ("\u202e", "\x1b", "\udc80"):
        assert sign not in text
    assert NAMES["emoji"] in text
    hostile.to_html(tmp_path / "a.html")
    path = hostile.to_json(tmp_path / "a.json")
    names = [f["feature"] for f in json.loads(path.read_text(encoding="utf-8"))["features"]]
    assert names == list(NAMES.values())
    stream = io.StringIO()
    hostile.show(Console(file=stream, width=80, force_terminal=False))
    assert not {"\x1b", "\u202e", "\udc80"} & set(stream.getvalue())


def test_notebook_shows_the_fragment(evil):
    assert evil._repr_html_() == evil.to_html_fragment()


def test_page_of_200_columns_is_small():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(100, 200)), rng.normal(0.8, 1, size=(100, 200))
    diagnosis = diagnose(a, b, explain=False, n_permutations=239, random_state=0)
    assert len(diagnosis.features) == 200
    long = [replace(f, feature=f"{f.feature} {'long name ' * 40}") for f in diagnosis.features]
    text = explained(replace(diagnosis, features=long)).to_html()
    assert len(text.encode()) < 300_000
    assert text.count("<svg") == 5 + 6


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


SCHEMA = json.loads(
    files("shiftlab.diagnosis.report").joinpath("diagnosis.schema.json").read_text("utf-8")
)
TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}


def broken(schema, value, place="$"):
    """Where a value breaks the schema; knows only the keywords that the schema uses."""
    known = {"$schema", "$defs", "title", "description", "$ref", "type", "enum", "const", "anyOf"}
    known |= {"required", "properties", "additionalProperties", "items", "minItems", "maxItems"}
    assert set(schema) <= known, set(schema) - known
    if "$ref" in schema:
        return broken(SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")], value, place)
    if "anyOf" in schema:
        tried = [broken(option, value, place) for option in schema["anyOf"]]
        return [] if [] in tried else tried[0]
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{place} is {value!r}"]
    if "const" in schema:
        return [] if value == schema["const"] else [f"{place} is {value!r}"]
    names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    kinds = tuple(np.hstack([TYPES[name] for name in names]))
    if not isinstance(value, kinds) or (isinstance(value, bool) and "boolean" not in names):
        return [f"{place} is {type(value).__name__}"]
    found = []
    if isinstance(value, dict):
        found += [f"{place} lacks {key}" for key in schema.get("required", ()) if key not in value]
        for key, inner in value.items():
            rule = schema.get("properties", {}).get(key, schema.get("additionalProperties", True))
            if rule is False:
                found.append(f"{place} has {key}")
            elif rule is not True:
                found += broken(rule, inner, f"{place}.{key}")
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", np.inf):
            found.append(f"{place} has {len(value)} items")
        for i, inner in enumerate(value):
            found += broken(schema["items"], inner, f"{place}[{i}]")
    return found


def test_json_follows_its_schema(evil):
    rng = np.random.default_rng(2)
    quick = {"random_state": 0, "n_permutations": 239}
    X, T = rng.normal(size=(80, 2)), rng.normal(1, 1, size=(80, 2))
    images = rng.integers(0, 255, size=(2, 40, 8, 8)).astype(np.uint8)
    cases = {
        "evil": evil,
        "explained": explained(evil),
        "one column": diagnose(X[:, :1], T[:, :1], explain=False, **quick),
        "no target labels": diagnose((X, X[:, 0] > 0), T, **quick),
        "regression": diagnose((X, X[:, 0]), (T, T[:, 1]), task="regression", **quick),
        "images": diagnose(*images, explain=False, **quick),
    }
    for name, diagnosis in cases.items():
        assert broken(SCHEMA, json.loads(diagnosis.to_json())) == [], name


def test_schema_check_can_fail(evil):
    value = explained(evil).to_dict()
    value["kind"] = "drift"
    value["alpha"] = True
    value["explanation"]["plan"]["rows"] = ["4"]
    value["explanation"]["regions"][0]["interval"] = [1.0]
    del value["findings"]["marginal"]["status"]
    value["features"][0]["extra"] = 1
    assert sorted(broken(SCHEMA, value)) == [
        "$.alpha is bool",
        "$.explanation.plan.rows[0] is str",
        "$.explanation.regions[0].interval has 1 items",
        "$.features[0] has extra",
        "$.findings.marginal lacks status",
        "$.kind is 'drift'",
    ]


def test_the_documents_name_every_key_and_their_code_runs():
    text = (Path(__file__).parents[2] / "docs" / "diagnosis-json.md").read_text("utf-8")
    places = [SCHEMA, *(SCHEMA["$defs"][n] for n in ("finding", "feature", "explanation", "plan"))]
    for key in {key for place in places for key in place["properties"]}:
        assert f"`{key}`" in text, key
    names = {}
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(code, names)
    assert names["schema"] == SCHEMA
    assert broken(SCHEMA, names["found"]) == []


def test_json_has_every_answer_and_survives_a_round_trip(evil, tmp_path):
    plain = explained(evil).to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    path = explained(evil).to_json(tmp_path / "new" / "d.json")
    assert path == tmp_path / "new" / "d.json"
    assert json.loads(path.read_text(encoding="utf-8")) == plain
    assert path.read_text(encoding="utf-8") == explained(evil).to_json()
    assert plain["schema_version"] == 2
    assert plain["explanation"]["regions"][1]["ratio"] is None
    for question, finding in plain["findings"].items():
        assert finding["question"] == question
        assert finding["summary"].endswith(".")


def test_terminal_shows_the_verdict_and_no_markup_of_names(evil):
    stream = io.StringIO()
    explained(evil).show(Console(file=stream, width=80))
    text = stream.getvalue()
    assert "market [bold]" in text
    assert evil.verdict[:30] in text
    assert max(map(len, text.splitlines())) <= 80
    order = ["What it costs", "Evidence", "Regions", "What labels would settle", "What to do"]
    assert [text.index(heading) for heading in order] == sorted(map(text.index, order))
    unwrapped = " ".join(text.split())
    for told in ("loses 13 points", "(5 times)", "(only in the target)", "4, 11"):
        assert told in unwrapped
    assert "1.2 times" not in unwrapped  # a region that does not differ


@pytest.mark.browser
@pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed")
@pytest.mark.parametrize("width", [1280, 390])
def test_page_fits_the_screen_and_says_nothing_on_the_console(evil, tmp_path, width):
    explained(evil).to_html(tmp_path / "page.html")
    # A headless window has a least width, so the page is measured in a frame; the script is
    # the test's, the page has none. Tables scroll in their own boxes.
    probe = tmp_path / "probe.html"
    probe.write_text(
        f"""<iframe id=f src="page.html" style="width:{width}px;height:900px;border:0"></iframe>
        <script>f.onload = () => {{
          const d = f.contentDocument;
          const out = [...d.querySelectorAll("body *")].filter(
            e => e.getBoundingClientRect().right > {width} + 1 && !e.closest(".sl-scroll"));
          document.title = [d.documentElement.scrollWidth, out.length].join(" ");
        }}</script>"""
    )
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
            "--allow-file-access-from-files",
            "--hide-scrollbars",
            "--virtual-time-budget=5000",
            "--dump-dom",
            probe.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert re.search("<title>(.*)</title>", done.stdout)[1] == f"{width} 0"
    assert "CONSOLE" not in done.stderr


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
