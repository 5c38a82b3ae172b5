"""What a user of the peers writes: rows, model, metrics and Trainer of a configuration.

A careful user's: rows are tokenised already and padded to the longest of a batch, nothing is saved,
the embeddings are frozen as in the experiment. All else is as transformers has it by default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

Configuration = Mapping[str, float | int]
LAYERS = "model.num_hidden_layers"
EPOCHS = 2


@dataclass(frozen=True)
class Work:
    """The trials of a comparison.

    Attributes:
        dataset: prepared by `hpo prepare`, of which the rows are read.
        source: folder of the base model.
        precision: fp32 or bf16.
    """

    dataset: Path
    source: Path
    configurations: tuple[Configuration, ...]
    precision: str
    seed: int = 0

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer of the base model."""
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(str(self.source))

    def rows(self, split: str) -> Any:
        """Return the tokenised rows of a split; peers are spared the tokenising."""
        from datasets import load_from_disk

        return load_from_disk(str(self.dataset / split))

    def model(self, layers: int) -> Any:
        """Return the model before its first step."""
        from transformers import AutoModelForSequenceClassification

        model = AutoModelForSequenceClassification.from_pretrained(
            str(self.source), num_hidden_layers=layers, num_labels=2
        )
        model.bert.embeddings.requires_grad_(False)
        return model

    def trainer(self, folder: str, train: Any, validation: Any, **own: Any) -> Any:
        """Return the Trainer, with training arguments or a `model` or `model_init` of its own."""
        from transformers import Trainer, TrainingArguments

        parts = {name: own.pop(name) for name in ("model", "model_init") if name in own}
        return Trainer(
            args=TrainingArguments(
                output_dir=folder,
                num_train_epochs=EPOCHS,
                eval_strategy="epoch",
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                seed=self.seed,
                bf16=self.precision == "bf16",
                use_cpu=self.precision == "bf16",
                **own,
            ),
            train_dataset=train,
            eval_dataset=validation,
            processing_class=self.tokenizer,
            compute_metrics=metrics,
            **parts,
        )


def metrics(predicted: Any) -> dict[str, float]:
    """Return accuracy and F1."""
    import numpy as np
    from sklearn.metrics import accuracy_score, f1_score

    classes = np.argmax(predicted.predictions, axis=-1)
    return {
        "accuracy": accuracy_score(predicted.label_ids, classes),
        "f1": f1_score(predicted.label_ids, classes),
    }
