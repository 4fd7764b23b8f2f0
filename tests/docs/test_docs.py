"""The documentation: links lead somewhere, reference pages have every key and command, and the site builds."""

import re
import runpy
import subprocess
import sys
import textwrap
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import get_type_hints

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from surm_bench.command.main import parser
from surm_bench.config import Config
from surm_bench.config.composition import GROUPS, choices, resolved

CHECKOUT = Path(__file__).parents[2]
sys.path.insert(0, str(CHECKOUT / "scripts" / "docs"))
import reference  # noqa: E402

PAGES = [
    *sorted(CHECKOUT.glob("*.md")),
    *sorted((CHECKOUT / "docs").rglob("*.md")),
    *(CHECKOUT / "results" / name for name in ("README.md", "choices.md", "reliability/README.md")),
]
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
ROW = re.compile(r"^\| `([^`]+)` \| (.+?) \|$", re.MULTILINE)


def name_of(page: Path) -> str:
    return page.relative_to(CHECKOUT).as_posix()


@cache
def text_of(page: Path) -> str:
    """With what is made from the code, as the site has it."""
    made = re.compile(r"^<!-- made from the code: (\w+) -->$", re.MULTILINE)
    return made.sub(lambda mark: getattr(reference, mark[1])(), page.read_text())


def anchors(page: Path) -> set[str]:
    """Of its headings, as mkdocs and GitHub make them of plain words."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", text_of(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    """To a file, and to a heading of it; those of the web are not followed."""
    for link in LINK.findall(FENCED.sub("", text_of(page))):
        if not link.startswith("https://"):
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.is_file(), f"{name_of(page)} links to {link}"
            assert not anchor or anchor in anchors(target), f"{name_of(page)} links to {link}: no such heading"


def test_every_page_is_in_the_navigation():
    nav = re.findall(r"[\w/]+\.md", (CHECKOUT / "mkdocs.yml").read_text().partition("\nnav:\n")[2])
    missing = [name_of(page) for page in PAGES if name_of(page) not in nav]
    assert not missing, f"add to nav in mkdocs.yml: {', '.join(missing)}"


def test_every_key_has_a_type_a_default_and_a_meaning():
    rows = {key: row.split(" | ") for key, row in ROW.findall(reference.configuration().replace("\\|", "¦"))}
    schemas = get_type_hints(Config)
    keys = {key for key in schemas if key not in GROUPS}
    keys |= {f"{group}.{key}" for group in GROUPS for key in get_type_hints(schemas[group])}
    assert set(rows) == keys
    for key, (_, default, *meaning) in rows.items():
        assert default and meaning and len(meaning[0]) > 5, (
            f"{key}: say what it means at its field in surm_bench/config"
        )


def test_every_field_of_a_record_has_a_meaning():
    for row in reference.record().splitlines():
        if row.startswith("| `"):
            assert len(row.split(" | ")[2]) > 5, (
                f"{row}: say what it means at its field in surm_bench/records/record.py"
            )


@pytest.mark.parametrize("group", ["optimizer", "trainer", "tracking"])
def test_the_defaults_are_those_of_a_run(group):
    """As Hydra reads them on a command line; a reference to another key is the value it has in a run."""
    rows = dict(ROW.findall(reference.configuration().replace("\\|", "¦")))
    for key, value in resolved([]).document()[group].items():
        shown = rows[f"{group}.{key}"].split(" | ")[1].strip("`")
        if not shown.startswith("${"):
            assert OverridesParser.create().parse_override(f"key={shown}").value() == value, key


def test_the_main_options_have_their_defaults():
    """The page on training names defaults of a run of LoRA on text, as numbers or words; each is the real one."""
    page = (CHECKOUT / "docs" / "training_options.md").read_text()
    rows = dict(ROW.findall(page.partition("\n## The main options\n")[2].partition("\n## ")[0]))
    run = resolved(["adapter=lora"]).document()
    for key in ("optimizer.schedule", "optimizer.warmup_ratio", "trainer.batch_size", "task.max_length"):
        group, name = key.split(".")
        assert rows[key].startswith(f"{run[group][name]} |"), key
    assert (run["trainer"]["epochs"], run["trainer"]["max_steps"]) == (10, None)
    assert run["optimizer"]["lr"] == run["adapter"]["lr"] and run["optimizer"]["head_lr"] is None
    assert run["adapter"]["peft"]["lora_dropout"] == 0.0


def test_every_choice_is_there_with_its_comment():
    parts = re.split(r"^## ", reference.choices(), flags=re.MULTILINE)[1:]
    found = {part.partition("\n")[0]: dict(ROW.findall(part)) for part in parts}
    assert {group: sorted(rows) for group, rows in found.items() if group != "experiment"} == {
        group: choices(group) for group in GROUPS
    }
    assert "demo" in found["experiment"]
    assert all(len(text) > 10 for rows in found.values() for text in rows.values())


def test_every_command_is_there():
    text = reference.commands()
    (commands,) = parser()._subparsers._group_actions
    assert sorted(re.findall(r"^### surm-bench (\w+)$", text, re.MULTILINE)) == sorted(commands.choices)
    assert "--calibrate" in text and "--side SIDE" in text


def test_the_fields_of_surm_are_those_of_its_config():
    from surm_bench.adapters import SurmConfig

    part = reference.peft_fields().partition("## SurmConfig\n")[2].partition("\n## ")[0]
    assert (
        SurmConfig.__dataclass_fields__.keys() >= set(dict(ROW.findall(part))) >= {"structure", "alpha", "r", "route"}
    )
    assert "`circulant`" in dict(ROW.findall(part))["structure"]


def test_the_readme_has_the_rows_of_the_verdict():
    """The table near its top has the measured comparisons and some columns of results/README.md, all up to date."""

    def rows(text: str) -> list[dict[str, str]]:
        head, _, *lines = [line for line in text.splitlines() if line.startswith("|")]
        names, *cells = ([cell.strip() for cell in line.strip("|").split("|")] for line in (head, *lines))
        return [dict(zip(names, row, strict=True)) for row in cells]

    section = (CHECKOUT / "README.md").read_text().partition("\n## What the runs say so far\n")[2].partition("\n## ")[0]
    table = rows(section)
    whole = (CHECKOUT / "results" / "README.md").read_text().partition("<!-- verdict")[2].partition("<!-- end of")[0]
    measured = [row for row in rows(whole) if "pending" not in row["Verdict"]]
    assert table == [{name: row[name] for name in table[0]} for row in measured]


def test_the_page_on_budgets_is_up_to_date():
    """Its script also checks that the results support the sentences that answer the question."""
    made = runpy.run_path(str(CHECKOUT / "docs" / "which_adapter.py"))
    assert made["page"]() == (CHECKOUT / "docs" / "which_adapter.md").read_text()


def test_the_names_of_the_reference_of_python_exist():
    """The site's builder reads the source, so a name that a module only computes does not count."""
    names = re.findall(r"^::: (\S+)", (CHECKOUT / "docs" / "reference" / "python.md").read_text(), re.MULTILINE)
    assert names
    for name in names:
        module, _, attribute = name.rpartition(".")
        assert attribute in vars(import_module(module)) or import_module(name), name


def test_the_page_on_budgets_counts_an_adapter(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", (CHECKOUT / "docs" / "which_adapter.md").read_text(), re.DOTALL)
    exec(textwrap.dedent(code), {})
    assert "'adapter': 36864, 'head': 592130" in capsys.readouterr().out


def test_the_site_builds_without_warnings(tmp_path):
    pytest.importorskip("material", reason="pip install 'surm-bench[docs]'")
    pytest.importorskip("mkdocstrings", reason="pip install 'surm-bench[docs]'")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(build, cwd=CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "docs" / "method.html").read_text()
    assert "<math" in page and 'class="arithmatex"' not in page
    assert "--calibrate" in (tmp_path / "docs" / "reference" / "command.html").read_text()
    outside = [
        file.name
        for file in tmp_path.rglob("*.html")
        if re.search(r'(src|stylesheet" href)="https?:', file.read_text())
    ]
    assert not outside, "the site needs no network"
