"""Pretraining of roberta_tiny, a RoBERTa of four layers, on the generated language with two tasks without labels.

The tasks are masked language modelling, and a classification at ``<s>`` of whether a passage was corrupted ("spoilt").
Without the second task, ``<s>`` of so small a model would not learn to summarise the sentences.
"""

import random
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import torch
from rich.progress import track
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaForMaskedLM

from pretraining.corpus import neighbours, passages, spoil, validation_texts, vocabulary
from pretraining.tokenizer import SPECIAL, build_tokenizer

MAX_LENGTH = 64
HIDDEN, LAYERS, HEADS, INTERMEDIATE = 64, 4, 4, 256
BATCH, LEARNING_RATE, WARMUP = 64, 2e-3, 0.05
HIDE, REPLACE = 0.2, 0.1  # fractions of words: hidden by <mask>; replaced by a random word that the model must restore
HELD_OUT = 50  # number of evaluation batches
IGNORED = -100


README = """# roberta_tiny

A RoBERTa encoder (4 layers, hidden 64, 4 heads, {size:,} parameters) with a word-level tokenizer
({vocabulary_size} entries), pretrained on the language that `surm_bench/tasks/embedded` generates: unlabelled
sentences and pairs of sentences that belong together, none of them a validation text of a task.

    OMP_NUM_THREADS=1 python scripts/pretrain_embedded.py roberta_tiny --steps {steps} --seed {seed}

{steps:,} steps of 64 passages, {seconds:,.0f} s on one CPU thread. One half of a batch: masked language modelling.
The other half: tell at `<s>` whether a passage was spoilt (a word replaced by another that is plausible between its
neighbours, or two words swapped). On unseen passages it restores {restored:.1%} of the hidden or replaced words, where
the most frequent word would be right {unigram:.1%} of the time, and judges {noticed:.1%} of the passages rightly.
"""


def pretrain(folder: Path, steps: int, seed: int) -> None:
    """Train and evaluate the model, and write the checkpoint folder (config, weights, tokenizer, README)."""
    torch.manual_seed(seed)
    tokenizer = build_tokenizer(vocabulary(), MAX_LENGTH)
    model, judge = RobertaForMaskedLM(_config(tokenizer)), torch.nn.Linear(HIDDEN, 2)
    parameters = [*model.parameters(), *judge.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=WARMUP)
    excluded, start = validation_texts(), time.perf_counter()
    for batch in track(islice(batches(tokenizer, seed, excluded), steps), f"{folder.name}: {steps} steps", steps):
        words, answers, verdicts = predict(model, judge, batch)
        loss = cross_entropy(words, answers) + cross_entropy(verdicts, batch["spoilt"])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    seconds = time.perf_counter() - start
    measured = evaluate(model, judge, islice(batches(tokenizer, seed + 1, excluded), HELD_OUT))
    facts = {"steps": steps, "seed": seed, "seconds": seconds, "vocabulary_size": len(tokenizer), **measured}
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "README.md").write_text(README.format(size=model.roberta.num_parameters(), **facts))


def batches(tokenizer: PreTrainedTokenizerFast, seed: int, excluded: set[str]) -> Iterator[dict[str, Tensor]]:
    """Yield endless batches of B passages: the first half is masked; every other passage of the second half is spoilt.

    A batch holds input_ids, attention_mask and labels, each (B, L), and spoilt (B/2,). Labels are -100 where no word is
    predicted.
    """
    generator, rng = torch.Generator().manual_seed(seed), random.Random(f"spoil/{seed}")
    heard = neighbours(seed, excluded)
    stream, encoder = passages(seed, excluded), tokenizer.backend_tokenizer
    while True:
        texts = list(islice(stream, BATCH))
        for i in range(BATCH // 2, BATCH, 2):
            texts[i] = spoil(rng, texts[i], heard)
        encoded = encoder.encode_batch([text if len(text) == 2 else text[0] for text in texts])
        ids = [torch.tensor(encoding.ids) for encoding in encoded]
        ids = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=tokenizer.pad_token_id)
        masked, labels = mask(ids, tokenizer, generator)
        masked[BATCH // 2 :], labels[BATCH // 2 :] = ids[BATCH // 2 :], IGNORED
        attention, spoilt = (ids != tokenizer.pad_token_id).long(), torch.tensor([1, 0]).repeat(BATCH // 4)
        yield {"input_ids": masked, "attention_mask": attention, "labels": labels, "spoilt": spoilt}


def mask(ids: Tensor, tokenizer: PreTrainedTokenizerFast, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Hide or replace some words; the model must predict these, and as many unchanged words as replaced ones."""
    special = len(SPECIAL)
    draw = torch.rand(ids.shape, generator=generator).masked_fill(ids < special, 1.0)
    hidden, replaced = draw < HIDE, (draw >= HIDE) & (draw < HIDE + REPLACE)
    random_ids = torch.randint(special, len(tokenizer), ids.shape, generator=generator)
    inputs = ids.masked_fill(hidden, tokenizer.mask_token_id).where(~replaced, random_ids)
    return inputs, ids.where(draw < HIDE + 2 * REPLACE, IGNORED)


def predict(model: RobertaForMaskedLM, judge: torch.nn.Linear, batch: dict[str, Tensor]) -> tuple[Tensor, ...]:
    """Return logits (N, vocabulary) and answers (N,) of the N words to predict, and logits of "spoilt" (B/2, 2)."""
    states = model.roberta(batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    asked = batch["labels"] != IGNORED
    return model.lm_head(states[asked]), batch["labels"][asked], judge(states[BATCH // 2 :, 0])


@torch.no_grad()
def evaluate(model: RobertaForMaskedLM, judge: torch.nn.Linear, held_out: Iterable[dict[str, Tensor]]) -> dict:
    """Return accuracies: restored words, the most frequent word as baseline (unigram), and spoilt passages noticed."""
    right, answers, noticed = [], [], []
    for batch in held_out:
        words, answer, verdicts = predict(model, judge, batch)
        changed = (batch["input_ids"] != batch["labels"])[batch["labels"] != IGNORED]
        right.append((words.argmax(-1) == answer)[changed])
        answers.append(answer[changed])
        noticed.append(verdicts.argmax(-1) == batch["spoilt"])
    answers = torch.cat(answers)
    measured = {"restored": right, "unigram": [answers == answers.mode().values], "noticed": noticed}
    return {name: torch.cat(hits).double().mean().item() for name, hits in measured.items()}


def _config(tokenizer: PreTrainedTokenizerFast) -> RobertaConfig:
    return RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=INTERMEDIATE,
        max_position_embeddings=MAX_LENGTH + 2,  # RoBERTa counts positions from pad_token_id + 1
        type_vocab_size=1,
        initializer_range=HIDDEN**-0.5,  # the usual 0.02 suits widths of several hundred
        hidden_dropout_prob=0.0,  # the model is too small to need dropout
        attention_probs_dropout_prob=0.0,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
