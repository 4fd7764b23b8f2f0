"""Make reference pages in Markdown from the code: configuration keys, choices of a group, commands. Without torch."""

import argparse
import ast
import dataclasses
import os
import tokenize
from collections.abc import Collection, Iterator
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).parents[2]
CONFIGS = CHECKOUT / "configs"
DEFAULTS = {  # the default file of a group
    "optimizer": "optimizer/adamw.yaml",
    "trainer": "trainer/default.yaml",
    "tracking": "tracking/none.yaml",
}
MISSING = "given by its file"
KEYS = ("key", "type", "default", "meaning", "in the id")


def configuration() -> str:
    """Return every key with its type, default, meaning and part in the id of a run, from surm_bench/config."""
    from surm_bench.config.schema import GROUPS, Config

    parts = ["## Of a run", _table(KEYS, _keys(Config, {}, without=GROUPS))]
    for name, group in GROUPS.items():
        given = yaml.safe_load((CONFIGS / DEFAULTS[name]).read_text()) if name in DEFAULTS else {}
        parts += [f"## {name}", group.__doc__, _table(KEYS, _keys(group, given, f"{name}."))]
    return "\n\n".join(parts)


def record() -> str:
    """Return every field of a record with its type and meaning, from surm_bench/records/record.py."""
    source = CHECKOUT / "surm_bench" / "records" / "record.py"
    classes, comments = _classes(source), _comments(source)
    parts = []
    for name in ("Record", *(name for name in classes if name != "Record")):
        rows = [(f"`{field}`", f"`{kind}`", text) for field, kind, text in _fields(classes[name], comments)]
        about = ast.get_docstring(classes[name])
        parts += [f"## {name}", about, _table(("field", "type", "meaning"), rows)]
    return "\n\n".join(parts)


def choices() -> str:
    """Return the choices of every group: the name of each file and its first comment."""
    from surm_bench.config.schema import GROUPS

    parts = []
    for group in (*GROUPS, "experiment"):
        files = sorted((CONFIGS / group).rglob("*.yaml"))
        rows = [(file.relative_to(CONFIGS / group).with_suffix("").as_posix(), _head(file)) for file in files]
        parts += [f"## {group}", _table(("name", "what it is"), [(f"`{name}`", text) for name, text in rows])]
    return "\n\n".join(parts)


def peft_fields() -> str:
    """Return the fields of our PEFT configs with the ``help`` in their metadata."""
    parts = []
    for file in sorted((CHECKOUT / "surm_bench" / "adapters").rglob("*.py")):
        for name, node in _classes(file).items():
            if rows := list(_helped(node)):
                about = ast.get_docstring(node).partition("\n\n")[0].replace("\n", " ")
                parts += [f"## {name}", about, _table(("field", "type", "default", "meaning"), rows)]
    return "\n\n".join(parts)


def commands() -> str:
    """Return the help of every command, as argparse prints it."""
    from surm_bench.command.main import GROUPS, parser

    os.environ["COLUMNS"] = "100"
    subparsers = _subparsers(parser())
    parts = [_block(parser().format_help())]
    for heading, names in GROUPS.items():
        parts.append(f"## {heading}")
        for name in names:
            parts += [f"### surm-bench {name}", *_help(subparsers[name])]
    return "\n\n".join(parts)


def examples() -> str:
    """Return the scripts of docs/examples, each with its title, description and code."""
    parts = []
    for file in sorted((CHECKOUT / "docs" / "examples").glob("*.py")):
        text = file.read_text()
        title, _, about = ast.get_docstring(ast.parse(text)).partition("\n")
        parts += [f"## {title.rstrip('.')}", about.strip(), f'```python title="docs/examples/{file.name}"\n{text}```']
    return "\n\n".join(parts)


def _keys(
    group: type, given: dict, prefix: str = "", without: Collection[str] = ()
) -> list[tuple[str, str, str, str, str]]:
    """Return the key, type, default, meaning and part in the id of each field of a group.

    Args:
        given: values of the group's default file.
        without: fields to leave out.
    """
    from surm_bench.config.keys import default_of

    rows = []
    for field in (one for one in dataclasses.fields(group) if one.name not in without):
        kind = field.type.__name__ if field.type in (str, int, float, bool) else str(field.type).replace("typing.", "")
        default = given.get(field.name, default_of(field))
        shown = MISSING if default == "???" else "empty" if default in ([], {}) else _shown(default)
        rows.append((f"`{prefix}{field.name}`", f"`{kind}`", shown, field.metadata["meaning"], _part(field)))
    return rows


def _part(field: dataclasses.Field) -> str:
    only = " and ".join(field.metadata["only"])
    return f"{field.metadata['in_id'].value}" + (f" (read with {only})" if only else "")


def _fields(node: ast.ClassDef, comments: dict[int, str]) -> Iterator[tuple[str, str, str]]:
    """Yield name, type and comment of each field of a dataclass."""
    end = node.body[0].end_lineno  # the docstring's: comments begin behind it
    for field in node.body:
        if isinstance(field, ast.AnnAssign):
            text = " ".join(comments[line] for line in range(end + 1, field.end_lineno + 1) if line in comments)
            yield field.target.id, ast.unparse(field.annotation), text
            end = field.end_lineno


def _default(value: ast.expr) -> str:
    """Return the default value of a field, from its expression in the code."""
    if isinstance(value, ast.Name) and value.id == "MISSING":
        return MISSING
    if isinstance(value, ast.Call):  # field(default=...) or field(default_factory=...)
        arguments = {keyword.arg: keyword.value for keyword in value.keywords}
        return _default(arguments["default"]) if "default" in arguments else "empty"
    return _shown(ast.literal_eval(value))


def _shown(value: object) -> str:
    """Return a value as it is written on the command line."""
    names = {None: "null", True: "true", False: "false"}
    return f"`{names[value] if value is None or isinstance(value, bool) else value}`"


def _helped(node: ast.ClassDef) -> Iterator[tuple[str, str, str, str]]:
    """Yield name, type, default and help of each field of a PEFT config that has a help text."""
    for field in node.body:
        if isinstance(field, ast.AnnAssign) and isinstance(field.value, ast.Call):
            arguments = {keyword.arg: keyword.value for keyword in field.value.keywords}
            if "metadata" in arguments:
                text = ast.literal_eval(arguments["metadata"])["help"]
                yield f"`{field.target.id}`", f"`{ast.unparse(field.annotation)}`", _default(field.value), text


def _classes(file: Path) -> dict[str, ast.ClassDef]:
    return {node.name: node for node in ast.parse(file.read_text()).body if isinstance(node, ast.ClassDef)}


def _comments(file: Path) -> dict[int, str]:
    """Return the comment of each line that has one, by line number."""
    with tokenize.open(file) as lines:
        tokens = list(tokenize.generate_tokens(lines.readline))
    return {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}


def _head(file: Path) -> str:
    """Return the comment at the beginning of a file."""
    lines = file.read_text().splitlines()
    ends = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    return " ".join(line.lstrip("# ") for line in lines[:ends])


def _help(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield the help of a command and of its subcommands."""
    if not parser.add_help:  # `run`, which takes Hydra's overrides
        yield parser.description
        return
    yield _block(parser.format_help())
    for inner in _subparsers(parser).values():
        yield _block(inner.format_help())


def _subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    actions = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return actions[0].choices if actions else {}


def _block(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [head, ("---",) * len(head), *(map(_cell, row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    """Escape what Markdown would read as a column, an emphasis or a tag."""
    text = text.replace("|", "\\|")
    return text if text.startswith("`") else text.replace("*", "\\*").replace("<", "&lt;")
