"""Warnings about data that were skipped or changed; each message is logged once in a process."""

import logging
from functools import cache

logger = logging.getLogger(__name__)


@cache
def tell(message: str) -> None:
    """Log a message as a warning; a repeated message is logged only once."""
    logger.warning("%s", message)
