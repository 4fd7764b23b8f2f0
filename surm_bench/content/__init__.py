"""Short digests of data, weights and tokenizers; equal content has an equal digest on every machine. No torch."""

from surm_bench.content.cache import FileCache
from surm_bench.content.files import file_digest
from surm_bench.content.images import extensions, image_name, read_image
from surm_bench.content.rows import rows_digest
from surm_bench.content.tokenizer import SETTINGS, TOKENIZER, VOCABULARIES, tokenizer_digest
from surm_bench.content.weights import weight_files, weights_digest

__all__ = [
    "FileCache",
    "extensions",
    "file_digest",
    "image_name",
    "read_image",
    "rows_digest",
    "tokenizer_digest",
    "SETTINGS",
    "TOKENIZER",
    "VOCABULARIES",
    "weight_files",
    "weights_digest",
]
