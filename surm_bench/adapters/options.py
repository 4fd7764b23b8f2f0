"""From a structure's name and options to the module, with errors that say what is possible."""

from collections.abc import Mapping
from typing import Any

from surm_bench.errors import UserError, unknown
from surm_bench.structured import STRUCTURES, StructuredMatrix
from surm_bench.structured.routes import routes


def build_structure(name: str, out_features: int, in_features: int, options: Mapping[str, Any]) -> StructuredMatrix:
    """The structured matrix of that name.

    Raises:
        UserError: unknown name, an option the structure does not take, or a size that does not divide.
    """
    check_structure(name, options)
    try:
        return StructuredMatrix(STRUCTURES[name](out_features, in_features, **options))
    except (TypeError, ValueError) as error:
        given = "".join(f" with {key}={value!r}" for key, value in options.items())
        raise UserError(f"structure {name!r} of {out_features}×{in_features}{given}: {error}") from None


def merge_options(options: Mapping[str, Any] | None, **fields: Any) -> dict[str, Any]:
    """The structure's options from the field ``options`` of a config and from its other fields; None is the default.

    Raises:
        UserError: options is no mapping, or gives a field a second time.
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
    """Refuse an unknown structure, and options that it does not take."""
    if name not in STRUCTURES:
        raise unknown("structure", name, STRUCTURES)
    taken = STRUCTURES[name].options()
    for key, value in options.items():
        if key not in taken:
            raise UserError(
                f"structure {name!r} takes no {key!r} (given: {value!r}); it takes {', '.join(taken) or 'none'}"
            )


def check_route(structure: str, route: str) -> None:
    """Refuse a route that the structure does not have; the error lists those that it has."""
    if route not in routes(STRUCTURES[structure]):
        raise unknown(f"route of structure {structure!r}", route, routes(STRUCTURES[structure]))
