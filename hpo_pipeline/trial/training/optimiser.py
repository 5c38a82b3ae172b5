"""The optimiser and the schedule of a trial, tried on a stand-in of a few weights."""

from __future__ import annotations

import torch
from transformers import Trainer, TrainingArguments, get_scheduler

_STEPS = 10


def try_optimiser(arguments: TrainingArguments) -> None:
    """Build the optimiser and the schedule of a trial as the Trainer does, and step both.

    Raises:
        Exception: whatever the package of the optimiser says to its arguments.
    """
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    kind, settings = Trainer.get_optimizer_cls_and_kwargs(arguments, model)
    if not (isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)):
        return  # a factory needs the real model
    if {"params", "model", "optimizer_dict"} & set(settings):
        return
    optimizer = kind(model.parameters(), **settings)
    if "fused" in str(arguments.optim):
        return
    scheduler = get_scheduler(
        arguments.lr_scheduler_type,
        optimizer=optimizer,
        num_warmup_steps=arguments.get_warmup_steps(_STEPS),
        num_training_steps=_STEPS,
        scheduler_specific_kwargs=arguments.lr_scheduler_kwargs,
    )
    needs_metric = isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
    for _ in range(2):
        optimizer.step()
        scheduler.step(*([1.0] if needs_metric else []))
