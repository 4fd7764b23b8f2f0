"""Build the module of a structure from its name and options. Error messages list the valid values."""

from collections.abc import Mapping, Sequence
from typing import Any

from surm_bench.errors import UserError, unknown
from surm_bench.structured import COMBINED, STRUCTURES, Algebra, StructuredMatrix
from surm_bench.structured.routes import routes

ALL_STRUCTURES = {**STRUCTURES, **COMBINED}


def build_structure(
    name: str, out_features: int, in_features: int, options: Mapping[str, Any], **defaults: Any
) -> StructuredMatrix:
    """Return the structured matrix of that name, or the sum or product of the structures in ``options["parts"]``.

    Args:
        defaults: values for options that a structure accepts and ``options`` does not set.

    Raises:
        UserError: the name is unknown, the structure does not accept an option, or a size does not divide.
    """
    check_structure(name, options)
    try:
        return StructuredMatrix(_algebra(name, out_features, in_features, options, defaults))
    except (TypeError, ValueError) as error:
        given = "".join(f" with {key}={value!r}" for key, value in options.items())
        raise UserError(f"structure {name!r} of {out_features}×{in_features}{given}: {error}") from None


def _algebra(name: str, rows: int, columns: int, options: Mapping[str, Any], defaults: Mapping[str, Any]) -> Algebra:
    structure = ALL_STRUCTURES[name]
    given = {key: value for key, value in defaults.items() if key in structure.options()} | dict(options)
    if name in STRUCTURES:
        return structure(rows, columns, **given)
    parts = [_split(part) for part in given.pop("parts")]
    shapes = structure.shapes(rows, columns, len(parts))
    algebras = (_algebra(part, *shape, own, defaults) for (part, own), shape in zip(parts, shapes, strict=True))
    return structure(tuple(algebras), **given)


def merge_options(options: Mapping[str, Any] | None, **fields: Any) -> dict[str, Any]:
    """Return the structure's options, merged from a config's field ``options`` and other fields. None means default.

    Raises:
        UserError: options is not a mapping, or sets a field that is also set directly.
    """
    if not isinstance(options, Mapping | None):
        raise UserError(f"options={options!r} is not possible: give a mapping of the structure's options to values")
    options = options or {}
    twice = [name for name in options if fields.get(name) is not None]
    if twice:
        raise UserError(f"{twice[0]!r} is given twice, by itself and in options={options!r}: give it once")
    given = {name: value for name, value in {**fields, **options}.items() if value is not None}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}


def check_structure(name: str, options: Mapping[str, Any]) -> None:
    """Refuse an unknown structure and options that it does not accept. A sum's or product's parts are checked too."""
    if name not in ALL_STRUCTURES:
        raise unknown("structure", name, ALL_STRUCTURES)
    taken = ALL_STRUCTURES[name].options()
    for key, value in options.items():
        if key not in taken:
            raise UserError(
                f"structure {name!r} takes no {key!r} (given: {value!r}); it takes {', '.join(taken) or 'none'}"
            )
    if name in COMBINED:
        for part in _checked_parts(name, options.get("parts")):
            check_structure(*_split(part))


def check_route(structure: str, route: str) -> None:
    """Refuse a route that the structure does not have. The error lists the structure's routes."""
    if route not in routes(ALL_STRUCTURES[structure]):
        raise unknown(f"route of structure {structure!r}", route, routes(ALL_STRUCTURES[structure]))


def _checked_parts(name: str, parts: Any) -> Sequence[Mapping[str, Any]]:
    listed = isinstance(parts, list | tuple) and parts
    if not listed or not all(isinstance(part, Mapping) and "structure" in part for part in parts):
        raise UserError(
            f"a {name} of parts={parts!r} is not possible: give a list, as [{{structure: circulant}}, "
            "{structure: low_rank, r: 2}]"
        )
    return parts


def _split(part: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return a part's structure and its options."""
    options = merge_options(part)
    return options.pop("structure"), options
