"""SURM in a plain transformers Trainer.

A RoBERTa gets a circulant weight delta on its query and value layers. Here it is tiny, with random weights, and learns
whether the first token of a text is in the upper half of the vocabulary. For a real one, take
`AutoModelForSequenceClassification.from_pretrained("FacebookAI/roberta-base")` and tokenize your texts.
"""

import sys

from surm_bench.adapters import SurmConfig  # before peft

# isort: split
import torch
from peft import PeftModel, get_peft_model
from transformers import RobertaConfig, RobertaForSequenceClassification, Trainer, TrainingArguments

TINY = RobertaConfig(
    vocab_size=64,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=64,
    max_position_embeddings=20,
)


def backbone() -> RobertaForSequenceClassification:
    torch.manual_seed(0)
    return RobertaForSequenceClassification(TINY)


def rows(number: int) -> list[dict]:
    texts = torch.randint(4, TINY.vocab_size, (number, 8))
    return [{"input_ids": text, "labels": int(text[0] >= TINY.vocab_size // 2)} for text in texts]


def main(folder: str) -> float:
    """Train, save and load the adapter; returns the accuracy of the merged model."""
    config = SurmConfig(structure="circulant", task_type="SEQ_CLS")  # q and v, and the head, are found
    model = get_peft_model(backbone(), config)
    model.print_trainable_parameters()

    train, test = rows(512), rows(256)
    arguments = TrainingArguments(
        folder,
        learning_rate=2e-2,
        num_train_epochs=6,
        per_device_train_batch_size=32,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
    )
    Trainer(model, arguments, train_dataset=train).train()
    model.save_pretrained(folder)  # safetensors: the structured delta and the head

    merged = PeftModel.from_pretrained(backbone(), folder).merge_and_unload().eval()
    with torch.no_grad():
        logits = merged(torch.stack([row["input_ids"] for row in test])).logits
    return (logits.argmax(-1) == torch.tensor([row["labels"] for row in test])).float().mean().item()


if __name__ == "__main__":
    print(f"accuracy of the merged model: {main(sys.argv[1]):.2f}")
