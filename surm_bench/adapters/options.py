"""From a structure's name and options to the module, with errors that say what is possible."""

import inspect

from surm_bench.errors import UserError, unknown
from surm_bench.structured import STRUCTURES, StructuredMatrix


def build_structure(name: str, out_features: int, in_features: int, **options) -> StructuredMatrix:
    """The structured matrix of that name; options that are None are left to the structure's default.

    Raises:
        UserError: unknown name, an option the structure does not take, or a size that does not divide.
    """
    check_structure(name, **options)
    given = {key: value for key, value in options.items() if value is not None}
    try:
        return STRUCTURES[name](out_features, in_features, **given)
    except ValueError as error:
        raise UserError(f"structure {name!r} of {out_features}×{in_features}: {error}") from None


def check_structure(name: str, **options) -> None:
    """Refuse an unknown structure, and options (unless None) that it does not take."""
    if name not in STRUCTURES:
        raise unknown("structure", name, STRUCTURES)
    taken = [p for p in inspect.signature(STRUCTURES[name]).parameters if p not in ("out_features", "in_features")]
    for key, value in options.items():
        if value is not None and key not in taken:
            raise UserError(
                f"structure {name!r} takes no {key!r} (given: {value!r}); it takes {', '.join(taken) or 'none'}"
            )


def check_route(structure: str, route: str) -> None:
    """Refuse a route that the structure does not have; the error lists those that it has."""
    routes = STRUCTURES[structure].routes()
    if route not in routes:
        raise unknown(f"route of structure {structure!r}", route, routes)
