"""Checks of a model's configuration before any file is read."""

from surm_bench.config import ModelConfig
from surm_bench.errors import UserError, unknown

OF_IMAGES = ("image_size", "crop_mode", "crop_pct", "mean", "std")
CROP_MODES = ("center", "squash", "border")  # the crop modes of timm


def check_model(config: ModelConfig) -> None:
    """Raise a UserError for errors that the configuration alone shows."""
    for name in OF_IMAGES:
        if config.family != "vision" and getattr(config, name) is not None:
            raise UserError(f"model.{name}={getattr(config, name)} has no effect: {config.name} is a model of text")
    if config.image_size is not None and config.image_size < 1:
        raise UserError(f"model.image_size={config.image_size} is not a positive number of pixels")
    if config.crop_pct is not None and not 0 < config.crop_pct <= 1:
        raise UserError(f"model.crop_pct={config.crop_pct} is not possible: above 0, up to 1")
    if config.crop_mode not in (None, *CROP_MODES):
        raise unknown("model.crop_mode", config.crop_mode, CROP_MODES)
    for name in ("mean", "std"):
        values = getattr(config, name)
        if values is not None and len(values) not in (1, 3):
            raise UserError(f"model.{name}={values} is not possible: one number for each channel, or one for all")
    if config.std is not None and min(config.std) <= 0:
        raise UserError(f"model.std={config.std} is not possible: pixels are divided by it, so give numbers above 0")
