"""The place of this package: a checkout, or an installed wheel."""

from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def config_dir() -> Path:
    """Return the folder of YAML groups: inside an installed package, or at the top of a checkout."""
    installed = PACKAGE / "configs"
    return installed if installed.is_dir() else PACKAGE.parent / "configs"
