"""The section of a model card that shows how to load the model or adapter, and how to predict with a merged model."""

import dataclasses

from surm_bench.config import Config, ModelConfig, TaskConfig
from surm_bench.models.families import family_of


def usage(config: Config, base: str | None, library: str) -> str:
    """Return a Markdown section with the code that loads an exported folder; a merged model also predicts.

    Args:
        config: the configuration of the run.
        base: the backbone's name on the hub; None if its weights are not from the hub.
        library: the library that loads the folder: peft, transformers or timm.
    """
    if library == "timm":
        lines = _merged_images(config.task)
    elif library == "transformers":
        lines = _merged_texts(config.task)
    elif base is None:
        lines = _adapter_of_ours(config)
    else:
        lines = _adapter(config, base)
    return "\n".join(["```python", *lines, "```", ""])


def _merged_images(task: TaskConfig) -> list[str]:
    answer = "number" if task.label_names is None else 'model.pretrained_cfg["label_names"][number]'
    return [
        "import timm",
        "import torch",
        "from PIL import Image, ImageOps",
        "from timm.data import create_transform, resolve_data_config",
        "",
        'model = timm.create_model("local-dir:FOLDER", pretrained=True).eval()',
        "transform = create_transform(**resolve_data_config({}, model=model))",
        'mode = "L" if model.pretrained_cfg["input_size"][0] == 1 else "RGB"  # grey or colour',
        "# Convert images of more than 8 bits first, as surm_bench.content.read_image does: convert() cuts them off.",
        'image = transform(ImageOps.exif_transpose(Image.open("image.png")).convert(mode))',
        "with torch.no_grad():",
        "    number = model(image.unsqueeze(0)).argmax().item()",
        f"print({answer})",
    ]


def _merged_texts(task: TaskConfig) -> list[str]:
    texts = ", ".join(['"A text."', '"Another text."'][: len(task.inputs)])
    answer = "logits.item()" if task.is_regression else "model.config.id2label[logits.argmax().item()]"
    return [
        "import torch",
        "from transformers import AutoModelForSequenceClassification, AutoTokenizer",
        "",
        'model = AutoModelForSequenceClassification.from_pretrained("FOLDER").eval()',
        'tokenizer = AutoTokenizer.from_pretrained("FOLDER")',
        f"max_length = min({task.max_length}, tokenizer.model_max_length)",
        f'inputs = tokenizer({texts}, truncation=True, max_length=max_length, return_tensors="pt")',
        "with torch.no_grad():",
        "    logits = model(**inputs).logits",
        f"print({answer})",
    ]


def _adapter(config: Config, base: str) -> list[str]:
    """Return the code for a PEFT adapter on a backbone from the hub, built in the same way as in surm_bench.models."""
    imports, built = family_of(config.model).loading_lines(config.model, base, config.task.num_labels)
    ours = "import surm_bench.adapters  # makes its methods known to PEFT"
    load = 'model = PeftModel.from_pretrained(base, "FOLDER").eval()'
    return [ours, "from peft import PeftModel", *imports, "", *built, load]


def _adapter_of_ours(config: Config) -> list[str]:
    """Return the code for a PEFT adapter on other weights: surm_bench builds the base model and checks its digest."""
    model = config.model
    defaults = {field.name: field.default for field in dataclasses.fields(ModelConfig)}
    changed = {name: getattr(model, name) for name, default in defaults.items() if getattr(model, name) != default}
    place = [] if model.weights is None else ["    weights=WEIGHTS,"]
    return [
        *([] if model.weights is None else ['WEIGHTS = "..."  # where the weights of this digest are', ""]),
        "import surm_bench.adapters  # makes its methods known to PEFT",
        "from peft import PeftModel",
        "from surm_bench.config import Config, ModelConfig",
        "from surm_bench.models import build_backbone",
        "from surm_bench.models.digest import check_model",
        "",
        "config = ModelConfig(",
        *place,
        *(f"    {name}={value!r}," for name, value in changed.items() if name != "weights"),
        ")",
        "check_model(config)  # refuses weights of another digest",
        f"base = build_backbone(config, {config.task.num_labels})  # base.processor takes texts or images",
        'model = PeftModel.from_pretrained(base.module, "FOLDER").eval()',
    ]
