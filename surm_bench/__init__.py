"""SURM (arXiv 2406.17740) against LoRA and every other serious adapter. Importing this package alone is light."""

__version__ = "0.1.0"
