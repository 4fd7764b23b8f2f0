"""What PEFT's tests are run over: every method of ours in place of every method of theirs."""

from surm_bench import adapters
from surm_bench.structured import STRUCTURES


def case_class(config_cls: type, **defaults) -> type:
    """The config class with the arguments that PEFT's tests need: some construct it without a method's own options
    (``defaults``), others ask by ``init_weights=False`` for an adapter that does not start at zero, which all methods
    of PEFT have for these tests and ours do not (``plugin`` does it). Neither is saved."""

    class Case(config_cls):
        def __init__(self, init_weights: bool = True, **fields):
            super().__init__(**defaults | fields)
            self.init_weights = init_weights

    Case.__name__ = Case.__qualname__ = config_cls.__name__
    return Case


SURM = case_class(adapters.SurmConfig)
RESIDUAL = case_class(adapters.ResidualAdapterConfig, structure="circulant")
HADAMARD = case_class(adapters.HadamardConfig)
LORA_XS = case_class(adapters.LoraXsConfig, r=2, alpha=20.0)
LORTA = case_class(adapters.LortaConfig, r=4, heads=2)
MELORA = case_class(adapters.MeloraConfig, n=2)
LORA_FIX = case_class(adapters.LoraFixConfig)
KADAPTATION = case_class(adapters.KAdaptationConfig, n=2)
COMPACTER = case_class(adapters.CompacterConfig, n=2, reduction=2)
ADAPTFORMER = case_class(adapters.AdaptFormerConfig, bottleneck=4, dropout=0.0)
DORA_DYNAMIC = case_class(adapters.DynamicDoraConfig, r=2, alpha=1.0, dropout=0.0)  # finite at steps of 0.5
LORA2 = case_class(adapters.Lora2Config, r=4, target_r=2, k=2, alpha=3e3)  # its start is small: so that steps show
AURORA = case_class(adapters.AuroraConfig, r=2, dropout=0.0)
FACT = case_class(adapters.FactConfig, r=2, dropout=0.0)
SSF = case_class(adapters.SsfConfig)
REPADAPTER = case_class(adapters.RepAdapterConfig, bottleneck=4, dropout=0.0)
SUBSET = case_class(adapters.SubsetConfig)

BOTH = ["lin0", "lin1"]
ON_LINEAR = [  # (name, config class, options) of the methods that take any Linear
    *((f"SURM {name}", SURM, {"structure": name}) for name in STRUCTURES),
    ("SURM product", SURM, {"structure": "product", "options": {"parts": [{"structure": "toeplitz"}] * 2}}),
    *((f"Residual {name}", RESIDUAL, {"structure": name}) for name in STRUCTURES),
    ("Residual bottleneck", RESIDUAL, {"structure": None, "bottleneck": 4}),
    ("Hadamard", HADAMARD, {}),
    ("LoRA-XS", LORA_XS, {}),
    ("MELoRA", MELORA, {}),
    ("LoRA-Fix", LORA_FIX, {}),
    ("KAdaptation", KADAPTATION, {}),
    ("DoRA dynamic", DORA_DYNAMIC, {}),
    ("LoRA²", LORA2, {}),
    ("SSF", SSF, {}),
    ("RepAdapter", REPADAPTER, {}),
]
ON_ONE_SIZE = [  # what does not fit lin1, of 20×2, beside lin0
    ("LoRTA", LORTA, {}),
    ("Compacter", COMPACTER, {}),
    ("Aurora", AURORA, {}),
    ("FacT", FACT, {}),
]

# test_custom_models.py: (name, model, config class, its arguments)
CUSTOM_MODELS = [
    *(
        (f"{name} {shown}", "MLP", config_cls, {**options, "target_modules": targets})
        for name, config_cls, options in ON_LINEAR
        for shown, targets in (("lin0 as str", "lin0"), ("lin0", ["lin0"]), ("both", BOTH))
    ),
    *((name, "MLP", config_cls, {**options, "target_modules": ["lin0"]}) for name, config_cls, options in ON_ONE_SIZE),
    ("SURM and lin1 saved", "MLP", SURM, {"target_modules": ["lin0"], "modules_to_save": ["lin1"]}),
    ("SURM without lin1", "MLP", SURM, {"target_modules": BOTH, "exclude_modules": ["lin1"]}),
    ("SURM scaled", "MLP", SURM, {"target_modules": BOTH, "alpha": 0.5}),
    ("SURM dropout", "MLP", SURM, {"target_modules": ["lin0"], "dropout": 0.1}),
    ("SURM kronecker r=2", "MLP", SURM, {"target_modules": BOTH, "structure": "kronecker", "r": 2}),
    ("SURM other layers", "Conv2d", SURM, {"target_modules": ["lin0"]}),
    ("Residual tanh", "MLP", RESIDUAL, {"target_modules": BOTH, "activation": "tanh"}),
    ("Hadamard norm", "MLP_LayerNorm", HADAMARD, {"target_modules": ["layernorm0", "lin0"]}),
    ("SSF norm", "MLP_LayerNorm", SSF, {"target_modules": ["layernorm0", "lin0"]}),
    ("Subset", "MLP", SUBSET, {}),
    ("Subset lin0", "MLP", SUBSET, {"target_modules": ["lin0"]}),
    ("BitFit", "MLP", SUBSET, {"parameters": "bias"}),
]

# those without a model, on a deep MLP of square layers
CONFIG_CLASSES = [
    *(SURM, RESIDUAL, HADAMARD, LORA_XS, LORTA, MELORA, LORA_FIX, KADAPTATION, COMPACTER, SUBSET),
    *(DORA_DYNAMIC, LORA2, AURORA, FACT, SSF, REPADAPTER),
]

# two adapters at once on an MLP: (name, method, config class, arguments of the first, of the second)
SEVERAL_ADAPTERS = [
    (
        f"{name} {shown}",
        name,
        config_cls,
        {**options, "target_modules": ["lin0"], "init_weights": False},
        {**options, "target_modules": [second], "init_weights": False},
    )
    for name, config_cls, options in [*ON_LINEAR, *ON_ONE_SIZE]
    for shown, second in (("same", "lin0"), ("different", "lin1"))
    if second == "lin0" or name != "Compacter"
]


def on_encoders(task_type: str) -> list[tuple[type, dict]]:
    """Every method with its own choice of layers, on BERT and RoBERTa: (config class, arguments)."""
    methods = [*ON_LINEAR, *ON_ONE_SIZE, ("AdaptFormer", ADAPTFORMER, {}), ("Subset", SUBSET, {})]
    return [(config_cls, {"task_type": task_type, **options}) for _, config_cls, options in methods]


def on_layers(task_type: str, *targets: str) -> list[tuple[type, dict]]:
    """Every method but AdaptFormer, on layers of that name: (config class, arguments)."""
    methods = [*ON_LINEAR, *ON_ONE_SIZE, ("Subset", SUBSET, {})]
    shared = {"task_type": task_type, "target_modules": list(targets)}
    return [(config_cls, {**shared, **options}) for _, config_cls, options in methods]


HUB = "peft-internal-testing/tiny-random-"  # models of PEFT's tests, which ``models`` makes anew

# module -> name of the list that its tests run over -> ours
LISTS = {
    "test_custom_models": {
        "TEST_CASES": CUSTOM_MODELS,
        "ALL_PEFT_CONFIG_CLASSES": CONFIG_CLASSES,
        "MULTIPLE_ACTIVE_ADAPTERS_TEST_CASES": SEVERAL_ADAPTERS,
    },
    "test_feature_extraction_models": {
        "PEFT_FEATURE_EXTRACTION_MODELS_TO_TEST": [
            f"{HUB}BertModel",
            f"{HUB}RobertaModel",
        ],
        "ALL_CONFIGS": on_encoders("FEATURE_EXTRACTION"),
    },
    "test_seq_classifier": {
        "PEFT_SEQ_CLS_MODELS_TO_TEST": [
            f"{HUB}BertForSequenceClassification",
            f"{HUB}RobertaForSequenceClassification",
        ],
        "ALL_CONFIGS": on_encoders("SEQ_CLS"),
    },
    "test_token_classification_qa": {
        "TOKEN_CLS_CONFIGS": on_encoders("TOKEN_CLS"),
        "QA_CONFIGS": on_encoders("QUESTION_ANS"),
    },
    "test_decoder_models": {
        "PEFT_DECODER_MODELS_TO_TEST": [f"{HUB}OPTForCausalLM"],
        "ALL_CONFIGS": on_layers("CAUSAL_LM", "q_proj", "v_proj"),
    },
    "test_encoder_decoder_models": {
        "PEFT_ENCODER_DECODER_MODELS_TO_TEST": [f"{HUB}BartForConditionalGeneration"],
        "ALL_CONFIGS": on_layers("SEQ_2_SEQ_LM", "encoder_attn.q_proj", "encoder_attn.v_proj"),
    },
}
METHODS = {*CONFIG_CLASSES, ADAPTFORMER}
