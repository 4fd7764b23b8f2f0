"""SURM (arXiv 2406.17740) compared with LoRA and other adapters. Importing this package alone does not load torch."""

__version__ = "0.1.0"
