"""The tests of PEFT that a method of ours cannot pass by its own nature. Each is expected to fail, and reported when it
does not, so that the list stays true."""

from typing import NamedTuple

from surm_bench.errors import UserError


class Exempt(NamedTuple):
    """Tests that fail for these methods (the names of their config classes), and how they fail. The regular expression
    is of a test's whole name without the brackets, or of its class, ``::`` and its name."""

    tests: str
    methods: tuple[str, ...]
    reason: str
    raises: type[BaseException] = AssertionError


EXCEPTIONS = [
    Exempt(
        r"test_(merge_layers\w*|safe_merge|disable_adapters_with_merging|delete_merged_adapter\w+"
        r"|multiple_active_adapters_merge_and_unmerge|sequential_merge\w+|unmerge_after_sequential_merge\w+"
        r"|forward_b?float16(_no_autocast)?)",  # these merge once they have answered
        ("ResidualAdapterConfig", "CompacterConfig", "AdaptFormerConfig"),
        "it answers activations by a function that is not linear, which no weight can take in",
        NotImplementedError,
    ),
    Exempt(
        r"test_disable_adapters(_with_merging)?",
        ("LoraXsConfig",),
        "it starts next to zero, as its authors' code does, and not at zero",
    ),
    Exempt(
        r"test_disable_adapters(_with_merging)?",
        ("SsfConfig",),
        "it starts with factors drawn around one, as its authors' code does, and not at zero",
    ),
    Exempt(
        r"test_training(_decoders|_encoder_decoders)?_layer_indexing",
        ("LortaConfig",),
        "its five tensors serve all layers, so that fewer layers have as many tensors",
    ),
    Exempt(
        r"test_(active_adapter|adapter_dtype_autocast|delete_adapter|delete_inactive_adapter"
        r"|delete_merged_adapter_only_rejects_the_merged_one|merge_layers_multi|load_model_low_cpu_mem_usage|load_multiple_adapters"
        r"|multiple_active_adapters_with_\w+|save_pretrained_(adapter_name_substring|selected_adapters\w*)"
        r"|set_adapter_non_overlapping_\w+)",
        ("SubsetConfig",),
        "it trains the backbone in place, which only one adapter of a model can do",
        UserError,
    ),
    Exempt(
        r"Test(Peft|Decoder|EncoderDecoder)\w+::test_adapter_name"  # elsewhere the trained head bears it
        r"|Test(Peft|Sequence)\w+::test_prepare_for_training_parametrized"  # elsewhere no embedding is trained
        r"|test_(add_adapter_no_autocast_adapter_dtype|only_params_are_updated|set_requires_grad"
        r"|training(_custom_models|(_decoders|_encoder_decoders)?(_gradient_checkpointing)?)"
        r"|loading_model_\w*requires_grad_set_correctly)",
        ("SubsetConfig",),
        "it trains the backbone's own parameters, which bear the name of no adapter",
        Exception,
    ),
    Exempt(
        r"test_(disable_adapter|disable_adapter_is_reentrant|disable_adapters|disable_adapters_exiting_context_restores_previous_state"
        r"|disable_adapters_with_merging|unload_adapter|lora_conversion)",
        ("SubsetConfig",),
        "it trains the backbone in place: the pretrained values are gone",
        ValueError,
    ),
    Exempt(
        r"test_(delete_merged_adapter_raises_without_mutation|merge_layers_is_idempotent|merge_layers_nan)",
        ("SubsetConfig",),
        "it trains the backbone in place: there is nothing to merge",
        BaseException,  # pytest's own: nothing was raised, or no warning given
    ),
]
