"""Tables equal a naive computation; the report escapes names and renders in a browser."""

from __future__ import annotations

import csv
import io
import math
import os
import re
import shutil
import statistics
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from shiftlab.experiments.parts import by_method, split_parts
from shiftlab.experiments.readme import BEGIN, END, update_readme
from shiftlab.experiments.report import Sheet, _cell, _luminance, figure_uri, render_report
from shiftlab.experiments.settings import DIGIT_DOMAINS
from shiftlab.experiments.tables import (
    choose_study,
    in_domain,
    markdown_table,
    method_means,
    summarise,
    to_csv,
    with_known,
)
from shiftlab.experiments.verdict import compare, verdict

METHODS = ("source-only", "coral", "target-supervised")


def make_row(source, target, method, seed, accuracy, **changes):
    row = {
        "key": f"{source}:{target}:{method}:{seed}",
        "source": source,
        "target": target,
        "method": method,
        "seed": seed,
        "accuracy": accuracy,
        "n_train_source": 100,
        "n_train_target": 100,
        "n_test": 1000,
        "seconds": 1.5,
        "settings": "abc",
        "data": "mnist=local,usps=local",
        "source_kind": "local",
        "target_kind": "local",
        "source_stand_in": source == "synth",
        "target_stand_in": target == "synth",
        "protocol": {"labels_per_class": 10, "epochs": 3},
        "versions": {"python": "3.11"},
    }
    return {**row, **changes}


def make_rows(domains=DIGIT_DOMAINS, seeds=3):
    rng = np.random.default_rng(0)
    ceiling = {(t, s): float(rng.uniform(0.9, 0.99)) for t in domains for s in range(seeds)}
    return [
        make_row(
            *(source, target, method, seed),
            ceiling[target, seed] if method == METHODS[-1] else float(rng.uniform(0.2, 0.9)),
        )
        for source in domains
        for target in domains
        if source != target
        for method in METHODS
        for seed in range(seeds)
    ]


def test_mean_and_deviation_equal_the_naive_ones():
    rows = make_rows()
    entries = summarise(rows)
    assert len(entries) == 20 * 3
    for e in entries:
        values = [
            r["accuracy"]
            for r in rows
            if (r["source"], r["target"], r["method"]) == (e.source, e.target, e.method)
        ]
        assert e.n_seeds == len(values) == 3
        assert math.isclose(e.mean, statistics.mean(values))
        assert math.isclose(e.std, statistics.stdev(values))
        assert e.stand_in == ("synth" in (e.source, e.target))


def test_one_seed_has_no_deviation():
    assert summarise(make_rows(seeds=1))[0].std is None


def test_method_means_count_only_what_all_methods_have():
    rows = make_rows(seeds=2)
    rows = [r for r in rows if not (r["method"] == "coral" and r["target"] == "usps")]
    for method, mean, _ in method_means(rows):
        naive = [r["accuracy"] for r in rows if r["method"] == method and r["target"] != "usps"]
        assert math.isclose(mean, statistics.mean(naive))


def test_method_means_count_a_pair_with_more_seeds_once():
    rows = make_rows(seeds=3)
    whole = method_means(rows)
    pair = ("mnist", "usps")
    fewer = [r for r in rows if r["seed"] < 2 or (r["source"], r["target"]) == pair]
    for (method, mean, std), (_, _, before) in zip(method_means(fewer), whole, strict=True):
        mine = [r for r in fewer if r["method"] == method]
        pairs = {(r["source"], r["target"]) for r in mine}
        by_pair = [
            statistics.mean(r["accuracy"] for r in mine if (r["source"], r["target"]) == p)
            for p in pairs
        ]
        by_seed = [
            statistics.mean(r["accuracy"] for r in mine if r["seed"] == seed) for seed in (0, 1)
        ]
        assert math.isclose(mean, statistics.mean(by_pair))
        assert math.isclose(std, statistics.stdev(by_seed))  # the third seed has one pair
        assert before != std


def test_in_domain_counts_each_network_once():
    rows = make_rows()
    found = in_domain(rows)
    assert list(found) == list(DIGIT_DOMAINS)
    for name, (mean, _, n) in found.items():
        values = {
            r["seed"]: r["accuracy"]
            for r in rows
            if (r["method"], r["target"]) == (METHODS[-1], name)
        }
        assert n == 3
        assert math.isclose(mean, statistics.mean(values.values()))


def test_studies_do_not_mix():
    rows = make_rows(seeds=1)
    offline = [{**r, "data": "mnist=offline,usps=offline"} for r in rows]
    other = [{**r, "settings": "xyz"} for r in rows]
    for mixed in (rows + offline, rows + other):
        with pytest.raises(ValueError, match="different settings or data"):
            summarise(mixed)
        with pytest.raises(ValueError, match="several studies"):
            choose_study(mixed, None)
    assert choose_study(rows + other, "xyz") == other
    with pytest.raises(ValueError, match="no results of study 'nope'"):
        choose_study(rows, "nope")
    with pytest.raises(ValueError, match="no results yet"):
        choose_study([], None)


def test_csv_and_markdown_hold_the_same_numbers():
    rows = make_rows()
    lines = list(csv.DictReader(io.StringIO(to_csv(rows))))
    assert len(lines) == 60
    table = markdown_table(rows)
    for line in lines:
        singles = [float(line[f"seed{s}"]) for s in range(3)]
        assert math.isclose(float(line["mean"]), statistics.mean(singles), abs_tol=1e-6)
        assert math.isclose(float(line["std"]), statistics.stdev(singles), abs_tol=2e-6)
        assert f"{float(line['mean']):.3f} ± {float(line['std']):.3f}" in table
    assert "| mnist | synth* |" in table
    assert len(table.splitlines()) == 2 + 20 + 1


def test_what_the_csv_has_and_a_run_has_not_is_added():
    rows = [{**row, "accuracy": round(row["accuracy"], 3)} for row in make_rows()]
    text = to_csv(rows)
    measured = [{**row, "accuracy": 0.25} for row in rows if row["seed"] == 0][:7]
    found = with_known(measured, text)
    assert len(found) == len(rows)  # no cell twice
    assert found[:7] == measured
    wanted = {row["key"]: row for row in rows} | {row["key"]: row for row in measured}
    wanted = list(wanted.values())
    assert markdown_table(found) == markdown_table(wanted)  # stand-ins and means, too
    assert to_csv(found) == to_csv(wanted)
    assert verdict(found) == verdict(wanted)
    for changes in ({"settings": "xyz"}, {"data": "mnist=offline"}):
        assert with_known([{**measured[0], **changes}], text) == [{**measured[0], **changes}]


def test_a_part_has_only_what_can_be_compared():
    rows = make_rows(seeds=1)
    headline = [
        make_row("mnist", "usps", "dann", 0, 0.9),
        make_row("usps", "mnist", "dann", 0, 0.7),
    ]
    pooled = [make_row("rest", "usps", m, 0, 0.5, n_test=7) for m in ("m3sda", "source-only")]
    assert [part.title for part in split_parts(rows)] == ["All pairs"]
    parts = split_parts([*pooled, *rows, *headline])
    assert parts[0].rows == rows  # a method with two pairs does not shrink the mean to them
    assert {(r["source"], r["target"]) for r in parts[1].rows} == {
        ("mnist", "usps"),
        ("usps", "mnist"),
    }
    assert {r["method"] for r in parts[1].rows} == {*METHODS, "dann"}
    assert parts[2].rows == pooled
    table = by_method(parts[1].rows)
    assert table.columns == ["mnist → usps", "usps → mnist", "mean"]
    assert dict(table.lines)["dann"] == ["0.900", "0.700", "0.800"]
    means = [float(cells[-1]) for _, cells in table.lines]
    assert means == sorted(means, reverse=True)
    lacking = by_method([*parts[1].rows, make_row("usps", "mnist", "mcc", 0, 0.99)])
    assert lacking.lines[-1] == ("mcc", ["-", "0.990", "-"])


def test_readme_and_page_hold_every_part(tmp_path):
    rows = make_rows(seeds=1)
    rows.append(make_row("mnist", "usps", "dann", 0, 0.9))
    rows.append(make_row("rest", "usps", "m3sda", 0, 0.5))
    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}\n{END}\n")
    text = update_readme(readme, rows).read_text()
    page = render_report(rows)
    for title in ("Pairs that every method was run on", "Four sources at once"):
        assert f"{title}, the best mean first:" in text
        assert f"<h2>{title}</h2>" in page
    assert "| dann | 0.900 | 0.900 |" in text
    assert "| m3sda | 0.500 | 0.500 |" in text


def test_missing_cells_are_dashes():
    rows = [r for r in make_rows(("mnist", "usps")) if r["method"] != "coral" or r["seed"] == 9]
    rows.append(make_row("mnist", "usps", "coral", 0, 0.5))
    assert "| usps | mnist |" in markdown_table(rows)
    assert " | - | " in markdown_table(rows)


def test_the_verdict_counts_by_two_standard_errors():
    rows = []
    for target, floor, coral in (("usps", 0.5, 0.6), ("svhn", 0.5, 0.52), ("synth", 0.5, 0.3)):
        rows.append(make_row("mnist", target, "source-only", 0, floor))
        rows.append(make_row("mnist", target, "coral", 0, coral))
        rows.append(make_row("mnist", target, "target-supervised", 0, 0.9))
    # The limit at n = 1000 is 2 sqrt(.5 * .5 / 1000 * 2) = .045 or so.
    (found,) = compare(rows)
    assert (found.better, found.unclear, found.worse) == (1, 1, 1)
    assert found.worst[:2] == ("mnist", "synth")
    assert math.isclose(found.worst[2], 0.2)
    first, second = verdict(rows)
    assert "0.500" in first
    assert "0.900" in first
    assert "better than source-only on 1 pair, worse on 1, no clear difference on 1" in second


def test_the_readme_block_is_replaced_and_the_rest_kept(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    update_readme(path, make_rows())
    once = path.read_text()
    assert once.startswith(f"before\n{BEGIN}\n")
    assert once.endswith(f"{END}\nafter\n")
    assert "old" not in once
    assert "| mnist | mnist_m |" in once
    update_readme(path, make_rows())
    assert path.read_text() == once
    path.write_text("no markers")
    with pytest.raises(ValueError, match="results: begin"):
        update_readme(path, make_rows())
    assert path.read_text() == "no markers"


class _Names(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.links, self.text = [], [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [v for k, v in attrs if k in ("src", "href", "srcset", "data", "action")]

    def handle_data(self, data):
        self.text += data


def _sheet(name="mnist", **changes):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 2))
    figure.subplots().imshow(np.arange(60).reshape(6, 10))
    return Sheet(name, figure_uri(figure), changes.get("kind", "local"), True, "made up")


def test_names_are_escaped_and_nothing_comes_from_outside():
    evil = "<img src=x onerror=alert(1)>"
    rows = [
        make_row(evil, "usps", method, 0, 0.5, source_stand_in=True)
        for method in ("source-only", "<b>m</b>", "target-supervised")
    ]
    html = render_report(rows, title=evil, sheets=[_sheet(evil)], diagnosis_title=evil)
    assert evil not in html
    assert "<b>m</b>" not in html
    page = _Names()
    page.feed(html)
    assert page.tags.count("img") == 1  # the sheet
    assert all(link.startswith("data:") for link in page.links)
    assert page.text.count(evil) >= 4
    assert "script" not in page.tags
    assert not re.search(r"url\(|@import|https?://", html)


def test_stand_ins_are_named_first():
    html = render_report(make_rows())
    assert "<strong>Stand-ins:</strong> synth." in html
    rows = [r for r in make_rows() if "synth" not in (r["source"], r["target"])]
    assert "Stand-ins" not in render_report(rows)


def test_an_empty_report_is_refused():
    with pytest.raises(ValueError, match="no results"):
        render_report([])


def test_text_in_the_heat_map_is_legible_at_every_value():
    for value in np.linspace(0, 1, 201):
        cell = _cell(float(value), diagonal=False)
        background = [int(v) for v in re.findall(r"\d+", cell["background"])]
        light = 1.0 if cell["colour"] == "#ffffff" else 0.0
        high, low = sorted((_luminance(background), light), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5


def _chromium():
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


def _browse(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [
        *(_chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
        *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
        *("--disable-sync", f"--user-data-dir={folder / 'profile'}", "--hide-scrollbars"),
        *("--enable-logging=stderr", *flags),
    ]
    environment = {k: v for k, v in os.environ.items() if k != "DISPLAY"}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=True, env=environment
    )


@pytest.mark.browser
@pytest.mark.skipif(_chromium() is None, reason="no Chromium is installed")
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_and_says_nothing_on_the_console(tmp_path, width):
    page = tmp_path / "report.html"
    page.write_text(
        render_report(
            make_rows(),
            sheets=[_sheet(name) for name in DIGIT_DOMAINS],
            diagnosis="<p>a diagnosis</p>",
            diagnosis_title="Diagnosis",
        ),
        encoding="utf-8",
    )
    # Headless Chromium has a least window width, so the page is measured in a frame; the
    # measuring page is the test's, the report itself has no script.
    probe = tmp_path / "probe.html"
    probe.write_text(
        f"""<iframe id=f src="report.html" style="width:{width}px;height:900px;border:0"></iframe>
        <script>f.onload = () => {{
          const d = f.contentDocument.documentElement;
          const out = [...f.contentDocument.querySelectorAll('body *')].filter(
            e => e.getBoundingClientRect().right > {width} + 1 && !e.closest('.diagnosis'));
          document.title = [d.clientWidth, d.scrollWidth, out.length].join(' ');
        }}</script>"""
    )
    done = _browse(
        tmp_path,
        "--allow-file-access-from-files",
        "--virtual-time-budget=5000",
        "--dump-dom",
        probe.as_uri(),
    )
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title is not None, done.stderr[-2000:]
    client, scroll, outside = map(int, title.group(1).split())
    assert client == width
    assert scroll <= width
    assert outside == 0
    assert "CONSOLE" not in done.stderr


def test_the_summary_says_which_methods_train_on_target_labels():
    def row(method, accuracy):
        return {
            "source": "mnist",
            "target": "usps",
            "method": method,
            "seed": 0,
            "accuracy": accuracy,
            "n_test": 1000,
            "protocol": {"labels_per_class": 7},
        }

    methods = ("source-only", "coral", "finetune", "target-supervised")
    said = verdict([row(m, 0.5 + 0.1 * i) for i, m in enumerate(methods)])
    assert said[1].startswith("coral: 0.600 (+0.100)")
    assert said[2].startswith("finetune (trains on 7 labelled target images a class): 0.700")
