"""The steps of a run in plain PyTorch, as a hand-written script: no accelerate, no record, nothing saved."""

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from surm_bench.adapters.build import attach
from surm_bench.config import Config
from surm_bench.run.build import build
from surm_bench.training.batches import Batches


def bare_run(config: Config) -> list[dict[str, float]]:
    """Train and evaluate; return {"train_loss", "accuracy"} of each epoch.

    Model, batches, optimiser, schedule and evaluation equal those of a run of the harness that classifies in fp32, with
    the default schedule and without weight decay.
    """
    backbone, data = build(config)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = attach(backbone.module, backbone.roles, config.adapter).to(device)
    trainer = config.trainer
    order = Batches(len(data.train), trainer.batch_size, config.seed, data.lengths)
    options = {"collate_fn": data.collate, "pin_memory": device == "cuda"}
    loader = DataLoader(data.train, batch_sampler=order, **options)
    evaluation = DataLoader(data.splits["reported"], trainer.eval_batch_size, **options)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, config.optimizer.lr, weight_decay=0.0, fused=True)
    steps = trainer.steps(len(loader))
    warmup = round(config.optimizer.warmup_ratio * steps)
    step, history = 0, []
    while step < steps:
        model.train()
        order.epoch, losses = len(history), []
        for batch in loader:
            labels, inputs = _split(batch, device)
            optimizer.param_groups[0]["lr"] = config.optimizer.lr * min(
                step / max(1, warmup), (steps - step) / max(1, steps - warmup)
            )
            loss = nn.functional.cross_entropy(_logits(model, inputs), labels)
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, config.optimizer.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.detach())
            step += 1
            if step == steps:
                break
        model.eval()
        with torch.no_grad():
            batches = (_split(batch, device) for batch in evaluation)
            right = torch.cat([_logits(model, inputs).argmax(-1) == labels for labels, inputs in batches])
        history.append({"train_loss": torch.stack(losses).mean().item(), "accuracy": right.double().mean().item()})
    return history


def _split(batch: dict[str, Tensor], device: str) -> tuple[Tensor, dict[str, Tensor]]:
    batch = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
    return batch.pop("labels"), batch


def _logits(model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    output = model(**inputs)
    return output if torch.is_tensor(output) else output.logits
