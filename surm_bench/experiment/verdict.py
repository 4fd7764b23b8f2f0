"""The verdict: tables and a picture of the claims' comparisons, and the page that shows them."""

from dataclasses import replace
from pathlib import Path

from surm_bench.atomic import atomic
from surm_bench.errors import UserError
from surm_bench.experiment.claims import Claim, compared, load_claims
from surm_bench.report.tables import to_markdown, write_table
from surm_bench.report.verdicts import Compared, primary_families, verdict_caption, verdict_figure, verdict_table

CLAIMS, PAGE, FOLDER = "claims.yaml", "README.md", "verdict"
BEGIN, END = "<!-- verdict: written from records, not by hand -->", "<!-- end of the verdict -->"


def write_verdict(results: Path) -> tuple[list[Path], list[str]]:
    """Compare what results/claims.yaml names, by the records below results.

    Tables go to results/verdict, and into results/README.md between its two marks.

    Returns:
        What was written, and a line for each record that cannot be used.

    Raises:
        UserError: the claims cannot be read, name what there is not, or the page lacks its marks.
    """
    claims = load_claims(results / CLAIMS)
    found, problems = compared(claims, results)
    everything = [one for comparisons in found.values() for one in comparisons]
    primaries, caption = primary_families(everything), verdict_caption(claims.level, claims.unpooled)
    written, sections = [], []
    for name, comparisons in found.items():
        table = verdict_table(comparisons, primaries, claims.level, caption)
        written += write_table(table, results / FOLDER, name)
        sections.append(_section(name, claims.claims[name], comparisons))
        sections.append(to_markdown(replace(table, caption="")))  # on the page once, below all
    if figure := verdict_figure(everything, results / FOLDER / "differences.png"):
        sections.insert(0, f"![Differences with their intervals]({FOLDER}/differences.png)\n")
    sections.append(caption)
    written += [*figure, _into_page(results / PAGE, "\n".join(sections))]
    return written, problems


def _section(name: str, claim: Claim, comparisons: list[Compared]) -> str:
    sentences = [_sentence(one, claim.effect) for one in comparisons if one.primary]
    return "\n".join(
        [
            f"### {name.replace('_', ' ').capitalize()}\n",
            f"The paper: {claim.paper}. Asked here: {claim.question} (Registered {claim.registered}.)\n",
            *(f"- {sentence}" for sentence in sentences),
            "",
        ]
    )


def _sentence(one: Compared, effect: float | None) -> str:
    """The answer of a primary comparison in a sentence."""
    names = f"**{one.first} against {one.partner}, {one.task}: {one.verdict}**"
    difference = one.difference
    if not one.complete:
        return f"{names}, {difference.n} of {one.planned} pairs are there."
    sentences = (
        f"{names}, {100 * difference.mean:+.1f} points [{100 * difference.low:+.1f}, {100 * difference.high:+.1f}]."
    )
    if effect is None:
        return sentences
    where = "inside" if difference.low <= effect <= difference.high else "outside"
    return f"{sentences} A gain of {100 * effect:g} points is {where} the interval."


def _into_page(page: Path, text: str) -> Path:
    """Put the text between the marks of a page."""
    old = page.read_text(encoding="utf-8") if page.is_file() else ""
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError(f"{page} lacks its marks: the verdict goes between the lines {BEGIN} and {END}")
    with atomic(page) as temporary:
        temporary.write_text(f"{before}{begin}\n\n{text}\n{end}{after}", encoding="utf-8")
    return page
