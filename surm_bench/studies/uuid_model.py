"""The decoders that memorise: a small one of Llama's architecture, trained on other pairs, or a pretrained Llama."""

import surm_bench.system.torchvision_stub  # noqa: F401

# isort: split
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from peft import LoraConfig, PeftConfig, get_peft_model
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedConfig

from surm_bench.adapters import SurmConfig
from surm_bench.errors import UserError
from surm_bench.hub import Repository, fetch
from surm_bench.models.text import load, read_tokenizer, wanted
from surm_bench.models.weights import refuse_misfits
from surm_bench.studies.uuid_data import IGNORED, Characters, TokensOfModel

# All matrices of the small decoder are square: W(G, H) and LoRA of equal r then train equally many numbers.
SMALL = {
    "vocab_size": Characters.SIZE,
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 128,
    "tie_word_embeddings": False,
    "use_cache": False,
}
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
ADAPTED_LAYERS = {"attention": ATTENTION, "all linear layers": (*ATTENTION, "gate_proj", "up_proj", "down_proj")}


def small_decoder(seed: int) -> LlamaForCausalLM:
    """Return a decoder with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(LlamaConfig(**SMALL))


def pretrained_llama(name: str) -> tuple[LlamaForCausalLM, TokensOfModel]:
    """Load a Llama and its tokenizer from a local folder or the hub: only safetensors, no code from the repository.

    The weights are bf16 on a GPU, fp32 otherwise.

    Raises:
        UserError: the model does not exist, is not a Llama, or its weights do not fit.
    """
    folder = _folder(name)
    architecture = _architecture(folder, name)
    tokenizer = read_tokenizer(folder, architecture, name)
    gpu = torch.cuda.is_available()
    dtype = torch.bfloat16 if gpu else torch.float32
    model, loading = load(AutoModelForCausalLM, folder, architecture, name, dtype)
    refuse_misfits(name, missing=loading["missing_keys"], unexpected=loading["unexpected_keys"])
    model.config.use_cache = False
    return model.to("cuda" if gpu else "cpu"), TokensOfModel(tokenizer)


def configuration(method: str, r: int, place: str) -> PeftConfig:
    """Return the configuration of W(G, H), the structure ldr, or of LoRA; the scale is 1 for every r in both."""
    layers = list(ADAPTED_LAYERS[place])
    if method == "ldr":
        return SurmConfig(structure="ldr", r=r, target_modules=layers)
    return LoraConfig(r=r, lora_alpha=r, lora_dropout=0.0, target_modules=layers)


@contextmanager
def adapted(base: nn.Module, config: PeftConfig, seed: int) -> Iterator[nn.Module]:
    """Yield base with a new adapter, drawn by seed; base itself is unchanged after the block."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = get_peft_model(base, config)
    try:
        yield model
    finally:
        model.unload()


def answer(model: nn.Module, ids: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean cross-entropy of the value's tokens in nats, and which pairs (pairs,) are exactly right.

    A pair is right if each token of its value is the likeliest token after the preceding ones: greedy decoding then
    produces the value.
    """
    logits, wanted = model(input_ids=ids[:, :-1]).logits.float(), labels[:, 1:]
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=IGNORED)
    return loss, ((logits.argmax(-1) == wanted) | (wanted == IGNORED)).all(1)


def _folder(name: str) -> Path:
    """Return the folder of a Llama: a local folder, or a model downloaded from the hub."""
    if Path(name).is_dir():
        return Path(name)
    return fetch(Repository(name, None), lambda names: ["config.json", *wanted(name, names)])


def _architecture(folder: Path, name: str) -> PreTrainedConfig:
    try:
        config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
    except (OSError, ValueError) as error:  # raised by transformers
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{name} is not a model of transformers: {reason}") from error
    if config.model_type != "llama":
        raise UserError(f"model {name} is of type {config.model_type}: give a model of type llama")
    return config
