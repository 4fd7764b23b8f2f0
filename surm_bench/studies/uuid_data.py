"""Pairs of random UUIDs, and their tokens: a decoder reads the key and must predict the value."""

import uuid
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

VOCABULARY = "0123456789abcdef-"
IGNORED = -100  # the label of a token that does not count in the loss
Pair = tuple[str, str]


def sample(seed: Sequence[int], count: int) -> list[Pair]:
    """Return pairs of a key and a value, random UUIDs of version 4 (RFC 9562): 122 random bits, 36 characters each.

    Args:
        seed: any numbers, the seed of NumPy's generator.
        count: the number of pairs.
    """
    rng = np.random.default_rng(seed)
    return [(_random(rng), _random(rng)) for _ in range(count)]


class Tokens(Protocol):
    """The conversion of a pair to tokens."""

    def key(self, text: str) -> list[int]:
        """Return the tokens that the decoder is given."""

    def value(self, text: str) -> list[int]:
        """Return the tokens that the decoder must then predict."""


class Characters:
    """One token per hex digit and for the dash, one token that starts a line, and one between key and value."""

    START, BETWEEN = len(VOCABULARY), len(VOCABULARY) + 1
    SIZE = len(VOCABULARY) + 2

    def key(self, text: str) -> list[int]:
        return [self.START, *map(VOCABULARY.index, text), self.BETWEEN]

    def value(self, text: str) -> list[int]:
        return list(map(VOCABULARY.index, text))


class TokensOfModel:
    """The tokens of a pretrained model: its start token, the key and a colon; then the value."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        self.tokenizer = tokenizer

    def key(self, text: str) -> list[int]:
        return self.tokenizer(f"{text}:")["input_ids"]

    def value(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]


def encode(pairs: Sequence[Pair], tokens: Tokens) -> tuple[Tensor, Tensor]:
    """Return token ids (pairs, length), padded at the end, and labels of the same shape.

    Labels are the ids of the value, and IGNORED elsewhere. A decoder only looks back, so the padding needs no mask.
    """
    keys, values = zip(*((tokens.key(key), tokens.value(value)) for key, value in pairs), strict=True)
    length = max(len(key) + len(value) for key, value in zip(keys, values, strict=True))
    ids = torch.zeros(len(pairs), length, dtype=torch.long)
    labels = torch.full_like(ids, IGNORED)
    for row, (key, value) in enumerate(zip(keys, values, strict=True)):
        end = len(key) + len(value)
        ids[row, :end] = torch.tensor(key + value)
        labels[row, len(key) : end] = torch.tensor(value)
    return ids, labels


def _random(rng: np.random.Generator) -> str:
    return str(uuid.UUID(bytes=rng.bytes(16), version=4))
