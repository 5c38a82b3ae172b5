"""A finished encoder-decoder model, called like a pipeline of transformers.

transformers 5 has none for texts from texts (text2text-generation was removed).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class TextWriter:
    """Writes a text for a text, by the settings that are saved with the model."""

    def __init__(
        self, folder: str, *, max_length: int, device: Any = None, batch_size: int = 32
    ) -> None:
        """Load the model.

        Args:
            max_length: tokens after which an input is cut.
            device: as torch names it; that of transformers' pipelines by default.
            batch_size: texts at once.
        """
        import torch
        from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

        default = "cuda" if torch.cuda.is_available() else "cpu"
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
        self.model.to(default if device is None else device)
        self._max_length = max_length
        self._batch_size = batch_size

    def __call__(self, inputs: str | Sequence[str], **generation: Any) -> list[dict[str, str]]:
        """Return `generated_text` for each text.

        Args:
            generation: for `model.generate`, such as `num_beams`.
        """
        texts = [inputs] if isinstance(inputs, str) else list(inputs)
        parts = (texts[i : i + self._batch_size] for i in range(0, len(texts), self._batch_size))
        return [
            {"generated_text": text} for part in parts for text in self._written(part, generation)
        ]

    def _written(self, texts: list[str], generation: dict[str, Any]) -> list[str]:
        batch = self.tokenizer(
            texts,
            truncation=True,
            max_length=self._max_length,
            split_special_tokens=True,
            padding=True,
            return_token_type_ids=False,
            return_tensors="pt",
        ).to(self.model.device)
        ids = self.model.generate(**batch, **generation)
        found: list[str] = self.tokenizer.batch_decode(ids, skip_special_tokens=True)
        return found
