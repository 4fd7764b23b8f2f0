from itertools import combinations

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from support import run_records
from support.run_records import ORDER, PARAMETERS, PEFT, looks, run, written_in

from surm_bench.errors import UserError
from surm_bench.metrics import METRICS
from surm_bench.report import figures, pareto
from surm_bench.report.figures import accuracy_against_fraction, learning_curves
from surm_bench.report.frames import curves_frame, runs_frame, summary_frame
from surm_bench.report.labels import place_labels
from surm_bench.report.looks import MARKERS, SHADES, leading, method_looks
from surm_bench.report.pareto import accuracy_against_parameters, pareto_front, staircase
from surm_bench.report.swarm import moved_aside


def test_pareto_front_by_brute_force():
    generator = np.random.default_rng(0)
    for _ in range(50):
        parameters, scores = generator.integers(1, 6, 8).tolist(), generator.integers(0, 6, 8).tolist()
        points = list(zip(parameters, scores, strict=True))
        best = {p for p in points if not any(q != p and q[0] <= p[0] and q[1] >= p[1] for q in points)}
        front = [points[i] for i in pareto_front(parameters, scores, METRICS["accuracy"])]
        assert front == sorted(best)


def test_the_front_is_a_staircase():
    """Nothing between two points reaches the second one's score."""
    x, y = staircase([0, 10, 100], [50, 70, 90], 1000)
    assert list(zip(x, y, strict=True)) == [(0, 50), (10, 50), (10, 70), (100, 70), (100, 90), (1000, 90)]


@pytest.mark.parametrize("spread", [0.0, 40.0])
def test_no_marker_covers_another_and_no_error_bar_a_bar(spread):
    generator = np.random.default_rng(0)
    points, spreads = generator.uniform(0, 60, (20, 2)), np.full(20, spread)
    drawn = points + np.outer(moved_aside(points, spreads, marker=9, bar=3, scale=1.0), [1, 0])
    assert (drawn[0] == points[0]).all()
    for i, j in combinations(range(20), 2):
        across, up = np.abs(drawn[i] - drawn[j])
        assert across >= 9 or up >= 9
        assert across >= 3 or up >= 2 * spread


def test_points_that_are_apart_stay_where_they_are():
    assert (moved_aside(np.array([[0.0, 0.0], [30.0, 0.0], [0.0, 30.0]]), np.zeros(3), 9, 3, 1.0) == 0).all()


@pytest.fixture
def placed(monkeypatch):
    """What the panels of the trade-off name, and where."""
    found = []

    def note(axes, x, y, texts, colors, **style):
        found.append(dict(zip(texts, zip(x.round(), y.round(1), strict=True), strict=True)))
        place_labels(axes, x, y, texts, colors, **style)

    monkeypatch.setattr(pareto, "place_labels", note)
    return found


def test_figure_files(summary, tmp_path, placed):
    tasks = ["glue/sst2", "glue/rte"]
    png, svg, pdf = accuracy_against_parameters(summary, looks(), tmp_path / "new" / "figure.png", tasks)
    sst2, rte = placed
    assert sst2 == {"LoRA r=8": (294912, 90.5), "circulant": (36864, 92.0)}
    assert rte.keys() == {"LoRA r=8", "circulant", "linear probe 50.0 (axis cut)"}  # 30 points below, of a span of 4
    assert (rte["LoRA r=8"], rte["circulant"]) == ((294912, 82.0), (36864, 82.0))
    pixels = matplotlib.image.imread(png)
    assert pixels.shape[1] == 1600 and pixels.std() > 0.05
    written = written_in(svg)
    assert {"sst2  (roberta_base)", "rte  (roberta_base)", "accuracy × 100", "Pareto front", *PEFT} - {
        "adapter_houlsby"
    } <= set(written)
    again = accuracy_against_parameters(summary, looks(), tmp_path / "again", tasks)
    assert [file.read_bytes() for file in again] == [file.read_bytes() for file in (png, svg, pdf)]
    assert pdf.read_bytes().startswith(b"%PDF")


def test_an_adapter_without_parameters_is_a_point_that_can_be_on_the_front(tmp_path, placed, monkeypatch):
    fronts = []
    monkeypatch.setattr(pareto, "staircase", lambda x, y, end: fronts.append(list(y)) or staircase(x, y, end))
    for probe, front in ((0.75, [75, 90]), (0.95, [95])):
        scores = {"LoRA r=8": 0.8, "circulant": 0.9, "linear probe": probe}
        summary = summary_frame(runs_frame([run(label, "rte", 0, score) for label, score in scores.items()]))
        accuracy_against_parameters(summary, looks(), tmp_path / "figure")
        x, y = placed[-1]["linear probe"]
        assert 0 < x < PARAMETERS["circulant"] and y == round(100 * probe, 1)
        assert fronts[-1] == pytest.approx(front)


@pytest.mark.parametrize("most", [8192, 600_000])  # less than a decade apart, and more than two
def test_no_tick_lies_on_the_cut_before_no_parameters(tmp_path, monkeypatch, most):
    frame = summary_frame(runs_frame([run(m, "rte", 0, 0.5) for m in ("circulant", "LoRA r=8", "linear probe")]))
    frame["adapter_parameters"] = frame["label"].map({"circulant": 4096, "LoRA r=8": most, "linear probe": 0})
    cuts, axis_cut = [], pareto.axis_cut
    monkeypatch.setattr(pareto, "axis_cut", lambda axes, x: cuts.append((axes, x)) or axis_cut(axes, x))
    accuracy_against_parameters(frame, looks(), tmp_path / "figure")
    ((axes, cut),) = cuts
    ticks = [*axes.get_xticks(), *axes.get_xticks(minor=True)]
    places = [axes.transData.transform((tick, 0.5))[0] for tick in (cut, *ticks)]
    assert len(ticks) > 2 and min(abs(place - places[0]) for place in places[1:]) > 16  # pixels: 7 points
    strokes = axes.lines[0].get_window_extent()
    assert strokes.x0 < places[0] < strokes.x1 and strokes.width < 40


def test_one_point_is_a_figure_and_none_is_an_error(tmp_path):
    frame = summary_frame(runs_frame([run("circulant", "rte", 0, 0.9), run("linear probe", "sst2", 0, 0.5)]))
    _, svg, _ = accuracy_against_parameters(frame, looks(), tmp_path / "figure")
    assert "rte  (roberta_base)" in written_in(svg) and "sst2  (roberta_base)" not in written_in(svg)
    with pytest.raises(UserError, match="no finished run"):
        accuracy_against_parameters(summary_frame(runs_frame([])), looks(), tmp_path / "nothing")
    with pytest.raises(UserError, match="no finished run"):
        learning_curves(curves_frame([]), looks(), tmp_path / "nothing")


def fractions(labels, tasks=("images/a",)):
    settings = [{"fraction": 0.02}, {"fraction": 0.1}, {}, {"shots": 5}]
    scores = (0.5, 0.6, 0.7, 0.1)
    return [
        run(label, task, seed, score + 0.01 * seed, **setting)
        for label in labels
        for task in tasks
        for setting, score in zip(settings, scores, strict=True)
        for seed in (0, 1)
    ]


def test_panels_are_apart_by_setting_and_of_the_reported_split(glue, tmp_path):
    records = [*glue, *fractions(["circulant"])]
    summary = summary_frame(runs_frame(records))
    titles = {f"{title}  (roberta_base)" for title in ("mnli", "rte", "a 2 %", "a 10 %", "a 5 shots", "a")}
    for _, svg, _ in (
        accuracy_against_parameters(summary, looks(), tmp_path / "p"),
        learning_curves(curves_frame(records), looks(), tmp_path / "c"),
    ):
        assert {text for text in written_in(svg) if "roberta_base" in text} == titles


@pytest.fixture
def lines(monkeypatch):
    """The lines that each panel is given, rounded."""
    found = []
    draw_lines = figures.draw_lines

    def note(axes, lines, looks, led, measure):
        found.append({label: [part.round(2).tolist() for part in line] for label, line in lines.items()})
        draw_lines(axes, lines, looks, led, measure)

    monkeypatch.setattr(figures, "draw_lines", note)
    return found


def test_accuracy_against_fraction_draws_what_was_measured(tmp_path, lines):
    records = [*fractions(["circulant"]), run("circulant", "images/b", 0, 0.9)]  # b has one fraction: no panel
    png, svg, _ = accuracy_against_fraction(summary_frame(runs_frame(records)), looks(), tmp_path / "fraction")
    by_hand = [[0.02, 0.1, 1.0], [50.5, 60.5, 70.5], [0.71] * 3]  # deviation 1/√2; shots are no fraction
    assert lines == [{"circulant": by_hand}]
    assert matplotlib.image.imread(png).shape[1] == 1600
    written = written_in(svg)
    assert {"a  (roberta_base)", "circulant", "2 %", "10 %", "100 %"} <= set(written)
    assert "b  (roberta_base)" not in written


def test_fractions_need_several(tmp_path):
    with pytest.raises(UserError, match="no finished run"):
        accuracy_against_fraction(summary_frame(runs_frame([run("circulant", "a", 0, 0.5)])), looks(), tmp_path / "x")


def many(count, monkeypatch):
    labels = [f"method {i}" for i in range(count)]
    monkeypatch.setattr(run_records, "PEFT", dict.fromkeys(labels, PEFT["circulant"]))
    monkeypatch.setattr(run_records, "PARAMETERS", {label: 1000 * 2**i for i, label in enumerate(labels)})
    return labels


def test_many_adapters_are_numbered_as_in_the_table_and_the_legend_names_them(tmp_path, monkeypatch, placed):
    labels = many(20, monkeypatch)
    records = [run(label, "rte", 0, 0.5 + 0.01 * i) for i, label in enumerate(labels[:-1])]
    order = dict(reversed(looks().items()))  # the last one first, and of it there is no run
    _, svg, _ = accuracy_against_parameters(summary_frame(runs_frame(records)), order, tmp_path / "many")
    legend = {text for text in written_in(svg) if "method" in text}
    assert legend == {f"{i}  {label}" for i, label in enumerate(reversed(labels[:-1]), 1)}
    assert placed[0].keys() == {str(i) for i in range(1, 20)}  # no name without its point


@pytest.mark.slow
def test_legends_of_many_lines_fit_the_figure(tmp_path, monkeypatch):
    labels = many(31, monkeypatch)
    legends = []
    save = pareto.save

    def note(figure, path):
        figure.canvas.draw()
        box = figure.legends[0].get_window_extent().bounds
        legends.append((box, figure.bbox.bounds, [axes.get_window_extent().bounds for axes in figure.axes]))
        return save(figure, path)

    monkeypatch.setattr(pareto, "save", note)
    records = fractions(labels, ["images/a", "images/b"])
    accuracy_against_parameters(summary_frame(runs_frame(records)), looks(), tmp_path / "parameters")
    assert len(legends) == 1
    for (left, bottom, width, height), (*_, page, _), panels in legends:
        assert left >= 0 and bottom >= 0 and left + width <= page
        assert all(panel[1] >= bottom + height for panel in panels)


def test_methods_differ_in_colour_or_marker_and_a_family_has_its_hues():
    families = [family for family in SHADES for _ in range(20)]
    found = method_looks({f"method {i}": family for i, family in enumerate(families)})
    assert len({(look.color, look.marker) for look in found.values()}) == 100
    assert all(look.color in SHADES[look.family] and look.marker in MARKERS for look in found.values())


def test_of_many_lines_the_best_of_each_family_is_in_colour():
    """By mean rank over the panels: a is 2nd and 3rd of structured, b 1st and 1st, and c, of another family, last."""
    names = {"a": "structured", "b": "structured", "c": "LoRA", **dict.fromkeys("defg", "bottleneck")}
    scores = pd.DataFrame([[0.8, 0.9, 0.1, 0.5, 0.4, 0.3, 0.2], [0.5, 0.9, 0.1, 0.7, 0.6, 0.3, 0.2]], columns=[*names])
    found = method_looks(names)
    assert leading(scores, found) == ["b", "c", "d"]
    assert leading(scores[["b", "a", "c"]], found) == ["a", "b", "c"]  # few: all of them, as in the table


def test_a_line_far_below_the_others_is_told_instead_of_flattening_them(tmp_path):
    records = [*fractions(["circulant", "LoRA r=8"]), *fractions(["linear probe"])]
    for record in records[-8:]:
        record.scores["reported"]["last"]["accuracy"] *= 0.2
    _, svg, _ = accuracy_against_fraction(summary_frame(runs_frame(records)), looks(), tmp_path / "fraction")
    assert "linear probe: 10.1 to 14.1, below the panel" in written_in(svg)


def test_labels_do_not_overlap():
    figure = Figure(figsize=(5, 4))
    renderer = FigureCanvasAgg(figure).get_renderer()
    axes = figure.subplots()
    x, y = np.linspace(1, 1.4, 8), np.linspace(2, 2.2, 8)
    axes.errorbar(x, y, 0.05, linestyle="", marker="o")
    axes.axis([0.5, 2.5, 1, 3])
    figure.canvas.draw()
    names = [f"method number {i}" for i in range(8)]
    place_labels(axes, x, y, names, ["black"] * 8)
    boxes = [text.get_window_extent(renderer) for text in axes.texts]
    assert [text.get_text() for text in axes.texts] == names
    for i, box in enumerate(boxes):
        assert axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_learning_curves(runs, tmp_path, lines):
    png, svg, _ = learning_curves(curves_frame(runs), looks(), tmp_path / "curves")
    assert matplotlib.image.imread(png).shape[1] == 1600
    written = set(written_in(svg))
    assert {"circulant", "LoRA r=8", "linear probe", "optimiser steps"} <= written
    assert "adapter_houlsby" not in written
    rte = lines[0]  # half of the score after the first epoch; by hand: 40, 41 and 42, then twice as much
    assert rte["circulant"] == [[1, 2], [41, 82], [1, 2]] and rte["linear probe"] == [[1, 2], [25, 50], [0, 0]]


def test_a_setting_that_diverged_on_a_seed_has_no_learning_curve(diverged, tmp_path):
    """That of its other runs would flatter it; where it did not diverge it is drawn."""
    on_rte = [record for record in diverged if record.config.task.name == "glue/rte"]
    for found, drawn in ((on_rte, {"LoRA r=8"}), (diverged, {"LoRA r=8", "circulant"})):
        _, curves, _ = learning_curves(curves_frame(found), looks(), tmp_path / "curves")
        assert {text for text in written_in(curves) if text in ORDER} == drawn


def test_a_curve_of_a_single_evaluation_is_a_point_that_can_be_seen(tmp_path, monkeypatch):
    markers = []
    plot = Axes.plot
    monkeypatch.setattr(
        Axes, "plot", lambda axes, x, y, **look: markers.append(look["marker"]) or plot(axes, x, y, **look)
    )
    labels = many(8, monkeypatch)
    records = [run(label, "rte", 0, 0.5) for label in labels]
    records = [record.having(history=record.history[-1:]) for record in records]
    learning_curves(curves_frame(records), looks(), tmp_path / "curves")
    assert len(markers) == 8 and "" not in markers and None not in markers
