"""The verdict on the claims: tables and a figure of the comparisons, and the page that shows them."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from surm_bench.errors import UserError
from surm_bench.experiment.claims import Claim, Claims, compared, load_claims
from surm_bench.hub import downloads
from surm_bench.report.tables import Table, to_markdown, write_table
from surm_bench.report.verdicts import Compared, primary_families, verdict_caption, verdict_figure, verdict_table
from surm_bench.system.atomic import atomic

CLAIMS, PAGE, FOLDER = "claims.yaml", "README.md", "verdict"
BEGIN, END = "<!-- verdict: written from records, not by hand -->", "<!-- end of the verdict -->"
SUMMARY = ["Method", "Compared with", "Experiment", "Task", "Pairs", "Difference", "p", "p (Holm)", "p (Check)"]
SUMMARY += ["Could see", "No loss at 0", "Verdict"]


class Judged(NamedTuple):
    """A claim with its comparisons, the primary comparisons first, and their table."""

    name: str
    claim: Claim
    comparisons: list[Compared]
    table: Table


def judged(claims: Claims, results: Path) -> tuple[list[Judged], str, list[str]]:
    """Judge every claim by the records below the results folder.

    Returns:
        The claims, the caption that all their tables have, and a line for each record that cannot be used.

    Raises:
        UserError: a comparison is not possible (surm_bench.experiment.claims.compared).
    """
    of_claims, problems = compared(claims, results)
    everything = [one for comparisons in of_claims.values() for one in comparisons]
    primaries, caption = primary_families(everything), verdict_caption(everything, claims.level, claims.unpooled)
    return (
        [
            Judged(name, claims.claims[name], of_claim, verdict_table(of_claim, primaries, claims.level, caption))
            for name, of_claim in of_claims.items()
        ],
        caption,
        problems,
    )


@downloads(allowed=False)
def write_verdict(results: Path) -> tuple[list[Path], list[str]]:
    """Make the comparisons of results/claims.yaml from the records below results, and write the verdict.

    The tables, and a page with all tables, are written to results/verdict. A table of the primary comparisons is
    written into results/README.md between its two marks.

    Returns:
        The files written, and a line for each record that cannot be used.

    Raises:
        UserError: the claims cannot be read or name an unknown experiment, task or row, or the page lacks its marks.
    """
    claims = load_claims(results / CLAIMS)
    judgements, caption, problems = judged(claims, results)
    written, sections = [], ["# The verdict on every claim\n"]
    for name, claim, comparisons, table in judgements:
        written += write_table(table, results / FOLDER, name)
        sections.append(_section(name, claim, comparisons))
        sections.append(to_markdown(replace(table, caption="")))  # the page shows the caption once, below all tables
    everything = [one for judgement in judgements for one in judgement.comparisons]
    if figure := verdict_figure(everything, results / FOLDER / "differences.png"):
        sections.insert(1, "![Differences with their intervals](differences.png)\n")
    written += [*figure, _write(results / FOLDER / PAGE, "\n".join([*sections, caption, ""]))]
    primaries = primary_families(everything)
    summary = _columns(verdict_table(list(primaries), primaries, claims.level), SUMMARY)
    return [*written, _into_page(results / PAGE, to_markdown(summary))], problems


def _columns(table: Table, titles: list[str]) -> Table:
    """Return the table with only these columns."""
    places = [place for place, column in enumerate(table.columns) if column.title in titles]
    return replace(
        table,
        columns=[table.columns[place] for place in places],
        rows=[[row[place] for place in places] for row in table.rows],
    )


def _section(name: str, claim: Claim, comparisons: list[Compared]) -> str:
    answers = [answer(one, claim.effect) for one in comparisons if one.primary]
    return "\n".join(
        [
            f"### {name.replace('_', ' ').capitalize()}\n",
            f"The paper: {claim.paper}. Asked here: {claim.question} (Registered {claim.registered}.)\n",
            *(f"- **{verdict}**, {reason}" for verdict, reason in answers),
            "",
        ]
    )


def answer(one: Compared, effect: float | None) -> tuple[str, str]:
    """Return the verdict of a comparison and its reason in words; together they are one or two sentences."""
    names = f"{one.first} against {one.partner}, {one.task}: {one.verdict}"
    difference = one.difference
    if one.lacking:
        return names, one.lacking
    if np.isnan(difference.low):
        return names, f"{difference.n} pairs of runs have scores, which give no interval."
    reason = f"{100 * difference.mean:+.1f} points [{100 * difference.low:+.1f}, {100 * difference.high:+.1f}]."
    if effect is None:
        return names, reason
    where = "inside" if difference.low <= effect <= difference.high else "outside"
    return names, f"{reason} A gain of {100 * effect:g} points is {where} the interval."


def _into_page(page: Path, text: str) -> Path:
    """Put the text between the marks of a page."""
    old = page.read_text(encoding="utf-8") if page.is_file() else ""
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError(f"{page} lacks the marks of the verdict: add the lines {BEGIN} and {END}")
    return _write(page, f"{before}{begin}\n\n{text}\n{end}{after}")


def _write(page: Path, text: str) -> Path:
    with atomic(page) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return page
