import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from support.run_records import PUBLISHED, run

from surm_bench.errors import UserError
from surm_bench.report.console import print_table
from surm_bench.report.frames import runs_frame, summary_frame
from surm_bench.report.published import Published, load_published
from surm_bench.report.tables import comparison_table, to_latex, to_markdown, write_table

PAPER = Path(__file__).parents[2] / "results" / "paper.yaml"


def test_published_rows_stand_below_and_do_not_compete(glue, beside):
    alone = comparison_table(summary_frame(runs_frame(glue)), ["LoRA r=8", "circulant"], seeds=2)
    assert beside.rows == alone.rows and beside.columns == alone.columns
    assert [[cell.text for cell in row] for row in beside.published] == [
        ["LoRA r=8 [Hu et al., 2022]", "0.3M", "—", "99.0 ± 0.3", "—", "98.0", "98.5"],
        ["WuRA [Wu, 2023]", "9K", "—", "—", "70.0", "71.5†", "—"],  # no mnli, so no average
        ["FuRA [Wu, 2023]", "8K", "—", "80.0", "—", "60.0†", "70.0†"],  # rte by another metric than ours
    ]
    assert all(cell.mark == "" for row in beside.published for cell in row)
    assert beside.sources == [
        "[Hu et al., 2022] LoRA, Table 2, https://x.org. One seed. Scores: accuracy.",
        "[Wu, 2023] WuRA, Table 1, https://y.org. Scores: f1 for rte, accuracy otherwise.",
    ]


def test_published_rows_belong_to_all_of_train():
    runs = [run("circulant", "glue/rte", 0, 0.5, fraction=0.02)]
    table = comparison_table(summary_frame(runs_frame(runs)), published=PUBLISHED)
    assert table.published == [] and table.sources == [] and "ublished" not in table.caption


def test_published_rows_in_every_format(beside, tmp_path):
    markdown = to_markdown(beside).splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown if line.startswith("|")]
    assert [row[0] for row in rows[2:]] == [
        *("LoRA r=8", "circulant", "*published*", "LoRA r=8 [Hu et al., 2022]", "WuRA [Wu, 2023]"),
        "FuRA [Wu, 2023]",
    ]
    assert len({len(row) for row in rows}) == 1
    assert markdown[-2:] == [f"- {source}" for source in beside.sources]
    latex = to_latex(beside)
    ours, others = latex.split(r"\midrule")[1:]
    assert "circulant &" in ours and "[Hu" not in ours
    assert r"LoRA r=8 [Hu et al., 2022] & 0.3M & --- & 99.0 {\scriptsize $\pm$ 0.3} & ---" in others
    assert r"71.5$^\dagger$" in others and others.index(r"\bottomrule") < others.index("[Wu, 2023] WuRA, Table 1")
    assert "Hu" not in write_table(beside, tmp_path, "table")[2].read_text()  # the CSV is what was measured
    out = io.StringIO()
    print_table(beside, Console(file=out, width=300))
    assert "98.0" in out.getvalue() and "https://y.org" in out.getvalue()


def test_every_sourced_value_loads():
    published = load_published(PAPER)
    assert published.sources["surm"].url == "https://arxiv.org/abs/2406.17740"
    assert {result.model for result in published.results} == {"roberta_base", "vit_base"}
    assert all(source.url.startswith("https://") and source.read for source in published.sources.values())


def test_published_averages_agree_with_the_scores_beside_them():
    """A check of the transcription: an average is that of its row, as far as the source's digits go."""
    for result in load_published(PAPER).results:
        if result.average:
            scores = [float(text.split()[0]) for key, text in result.scores.items() if ":" not in key]
            assert np.mean(scores) == pytest.approx(float(result.average.split()[0]), abs=0.051), result.method


ENTRY = {"source": "hu", "model": "m", "method": "LoRA", "parameters": "1", "scores": {"rte": "90.0"}}


SOURCE = {"cite": "Hu", "title": "LoRA", "where": "T", "url": "u", "read": "r", "metrics": {"default": "accuracy"}}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"source": None}, "results.*source"),
        ({"source": "who"}, r"results\[0\]: unknown source 'who': choose from hu"),
        ({"method": None}, "method"),
        ({"score": "1"}, "score"),
        ({"scores": {"rte": "0.9x"}}, r"results\[0\]: rte of LoRA is '0.9x': give percent"),
        ({"scores": {"rte": "900"}}, "rte of LoRA is '900': give percent"),
        ({"average": "about 90"}, "average of LoRA is 'about 90'"),
        ({"metrics": {"rte": ""}}, "rte of LoRA has no metric"),
    ],
)
def test_a_malformed_published_entry_is_one_line(tmp_path, change, message):
    path = tmp_path / "paper.yaml"
    path.write_text(json.dumps({"sources": {"hu": SOURCE}, "results": [ENTRY]}))  # JSON is YAML
    assert load_published(path).results[0].scores == {"rte": "90.0"}
    entry = {key: value for key, value in (ENTRY | change).items() if value is not None}
    path.write_text(json.dumps({"sources": {"hu": SOURCE}, "results": [entry]}))
    with pytest.raises(UserError, match=message) as error:
        load_published(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)


def test_published_values_that_are_no_yaml_are_one_line_and_none_are_none(tmp_path):
    path = tmp_path / "paper.yaml"
    path.write_text("sources: {hu: [")
    with pytest.raises(UserError) as error:
        load_published(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)
    assert load_published(tmp_path / "missing.yaml") == Published()
