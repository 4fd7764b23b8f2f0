"""What is refused of a model's configuration before anything is read."""

from surm_bench.config import ModelConfig
from surm_bench.errors import UserError

OF_IMAGES = ("image_size", "crop_pct")


def check_model(config: ModelConfig) -> None:
    """Refuse what the configuration alone shows to be wrong; raises UserError."""
    for name in OF_IMAGES:
        if config.family != "vision" and getattr(config, name) is not None:
            raise UserError(f"model.{name}={getattr(config, name)} has no effect: {config.name} is a model of text")
    if config.image_size is not None and config.image_size < 1:
        raise UserError(f"model.image_size={config.image_size} is not a positive number of pixels")
    if config.crop_pct is not None and not 0 < config.crop_pct <= 1:
        raise UserError(f"model.crop_pct={config.crop_pct} is not possible: above 0, up to 1")
