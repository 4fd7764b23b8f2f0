"""Preparation of checked rows as examples and batches for a model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from datasets import Dataset as Rows
from torch import Generator, Tensor
from torch.utils.data import Dataset, default_collate
from transformers import PreTrainedTokenizerBase

from surm_bench.config import TaskConfig
from surm_bench.errors import UserError
from surm_bench.system.environment import available_memory_bytes
from surm_bench.tasks.augment import AUGMENTATIONS
from surm_bench.tasks.batches import TextCollator
from surm_bench.tasks.images import Images
from surm_bench.tasks.load import RawTask
from surm_bench.tasks.notices import tell

SMALL = 2**24  # numbers (64 MiB): an image split up to this size is transformed once and kept in memory


@dataclass(frozen=True)
class TaskData:
    """The data of a task as training and evaluation loops use them.

    Attributes:
        train: a map-style data set; an example is a dict of the model's inputs and "labels".
        splits: the scored splits by name, in order (surm_bench.tasks.load.RawTask); examples have the form of train's.
        collate: examples -> batch of tensors. Text: input_ids, attention_mask, perhaps token_type_ids, each (B, longest
            of the batch); images: x (B, C, H, W). Both: labels (B,), int64, or float32 for regression.
        lengths: the number of tokens of each training example, for length grouping; None for images.
        rows: the row numbers, (N,), of each scored split's examples in the split as read; texts are scored in another
            order.
        augment: augments the images x of a training batch with a random generator; None for no augmentation.
    """

    train: Dataset | list[dict]
    splits: dict[str, Dataset | list[dict]]
    collate: Callable[[list[dict]], dict[str, Tensor]]
    lengths: Sequence[int] | None
    rows: dict[str, np.ndarray]
    augment: Callable[[Tensor, Generator], Tensor] | None = None


def prepare(raw: RawTask, processor: Callable, virtual_tokens: int = 0) -> TaskData:
    """Prepare a task for a checkpoint: tokenise texts once, or transform images on access.

    Args:
        processor: of the backbone: a tokenizer for text, or PIL image -> tensor for images (surm_bench.tasks.images).
        virtual_tokens: the number of positions that the adapter takes for itself before each text.

    Raises:
        UserError: a text task meets a vision model or the reverse, or max_length is too small for a single token.
    """
    config = raw.config
    is_tokenizer = isinstance(processor, PreTrainedTokenizerBase)
    if is_tokenizer != (config.kind == "text"):
        family = "text" if config.kind == "text" else "vision"
        raise UserError(f"task {config.name} is of kind {config.kind}: choose a {family} model")
    return _text(raw, processor, virtual_tokens) if is_tokenizer else _images(raw, processor)


def _images(raw: RawTask, processor: Callable) -> TaskData:
    """Transform small image splits now; keep the pixels of larger ones in up to a quarter of the available memory."""
    limit = available_memory_bytes() // 4

    def prepared(rows: Rows, split: str, places: np.ndarray | None) -> Dataset | list[dict]:
        nonlocal limit
        images = Images(rows, processor, raw.config, split, places)
        size = len(images) * images[0]["x"].numel()
        if size <= SMALL:
            return list(images)
        if size <= limit:
            images.keep()
            limit -= size
        return images

    train = prepared(raw.train, "train", raw.train_rows)
    splits = {name: prepared(rows, name, raw.rows[name]) for name, rows in raw.splits.items()}
    return TaskData(train, splits, default_collate, None, raw.rows, AUGMENTATIONS[raw.config.augment])


def _text(raw: RawTask, tokenizer: PreTrainedTokenizerBase, virtual_tokens: int) -> TaskData:
    """Tokenise all splits; sort scored splits by length, longest first: less padding, unchanged scores."""
    limit = _limit(tokenizer, raw.config, virtual_tokens)
    train = _tokenised(raw.train, tokenizer, raw.config, limit, "train")
    splits, rows = {}, {}
    for name, split in raw.splits.items():
        examples = _tokenised(split, tokenizer, raw.config, limit, name)
        order = sorted(range(len(examples)), key=lambda i, examples=examples: _length(examples[i]), reverse=True)
        splits[name], rows[name] = [examples[i] for i in order], raw.rows[name][order]
    return TaskData(train, splits, TextCollator(tokenizer), [_length(example) for example in train], rows)


def _length(example: dict) -> int:
    return len(example["input_ids"])


def _limit(tokenizer: PreTrainedTokenizerBase, config: TaskConfig, virtual_tokens: int) -> int:
    """Return the maximum tokens of a text: the smaller of task.max_length and the positions left by virtual tokens."""
    limit = min(config.max_length, tokenizer.model_max_length - virtual_tokens)
    special = tokenizer.num_special_tokens_to_add(pair=len(config.inputs) == 2)
    if limit > special:
        return limit
    if config.max_length <= special:
        raise UserError(f"task.max_length={config.max_length} leaves no room for text beside {special} special tokens")
    raise UserError(
        f"adapter.peft.num_virtual_tokens={virtual_tokens} leaves no room for text: the model has "
        f"{tokenizer.model_max_length} positions, and special tokens take {special}; give fewer virtual tokens"
    )


def _tokenised(
    rows: Rows, tokenizer: PreTrainedTokenizerBase, config: TaskConfig, limit: int, split: str
) -> list[dict]:
    columns = rows[:]
    texts = (columns[name] for name in config.inputs)
    # No attention mask here: it is all ones until collate pads a batch and creates the mask.
    tokens = tokenizer(*texts, truncation=True, max_length=limit, return_attention_mask=False)
    cut = sum(bool(encoding.overflowing) for encoding in tokens.encodings or [])
    if cut and (split, len(rows)) != ("train", 1):  # predictions have no training rows, and one as a placeholder
        length = f"task.max_length={config.max_length}"
        tell(f"{config.name}, {split} split: {cut:,} of {len(rows):,} texts are cut to {limit} tokens ({length})")
    cast = float if config.is_regression else int
    tokens["labels"] = [cast(label) for label in columns[config.label]]
    return [dict(zip(tokens, values, strict=True)) for values in zip(*tokens.values(), strict=True)]
