"""A model folder that answers texts: `hpo serve`. What is run is the artefact that was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from hpo_pipeline.errors import DataError
from hpo_pipeline.trial.artefact.build import open_artefact
from hpo_pipeline.trial.artefact.record import read_record
from hpo_pipeline.trial.measuring import load_served

Text = str | tuple[str, str]
"""A text, or a pair of them."""
Answer = dict[str, Any] | list[dict[str, Any]]


@dataclass(frozen=True)
class Predictor:
    """What a folder is served by.

    Attributes:
        model: the artefact.
        title: what it is, in words.
        is_of_tokens: whether each token has a label of its own.
    """

    model: Any
    tokenizer: Any
    config: Any
    title: str
    max_length: int
    is_of_tokens: bool

    def predict(self, texts: Sequence[Text]) -> list[Answer]:
        """Return an answer for each text: its label, its labels, its number, or its tags."""
        pairs = any(isinstance(text, tuple) for text in texts)
        if pairs and not all(isinstance(text, tuple) for text in texts):
            raise DataError("instances: must be all texts or all pairs of texts")
        first = [text[0] if isinstance(text, tuple) else text for text in texts]
        second = [text[1] for text in texts if isinstance(text, tuple)]
        encoded = self.tokenizer(
            first,
            second or None,
            truncation=True,
            max_length=self.max_length,
            padding=True,
            return_tensors="pt",
        )
        inputs = {
            name: value.to(self.model.device)
            for name, value in encoded.items()
            if name in self.tokenizer.model_input_names
        }
        with torch.inference_mode():
            logits = self.model(**inputs).logits.float().cpu()
        if self.is_of_tokens:
            rows = zip(logits, encoded.encodings, first, strict=True)
            return [self._tags(*row) for row in rows]
        return [self._answer(row) for row in logits]

    def _answer(self, logits: torch.Tensor) -> Answer:
        if self.config.problem_type == "regression" or len(logits) == 1:
            return {"value": float(logits[0])}
        if self.config.problem_type == "multi_label_classification":
            shares = logits.sigmoid()
            labels = [self._label(i) for i, share in enumerate(shares) if share > 0.5]
            return {"labels": labels, "scores": self._scores(shares)}
        shares = logits.softmax(dim=-1)
        return {"label": self._label(int(shares.argmax())), "scores": self._scores(shares)}

    def _tags(self, logits: torch.Tensor, encoding: Any, text: str) -> Answer:
        """Return the tag of each word, which is that of its first token."""
        shares, seen, found = logits.softmax(dim=-1), set(), []
        for i, word in enumerate(encoding.word_ids):
            if word is None or word in seen:
                continue
            seen.add(word)
            start, end = encoding.word_to_chars(word)
            best = int(shares[i].argmax())
            label, score = self._label(best), float(shares[i][best])
            found.append({"word": text[start:end], "label": label, "score": score})
        return found

    def _scores(self, shares: torch.Tensor) -> dict[str, float]:
        return {self._label(i): float(share) for i, share in enumerate(shares)}

    def _label(self, number: int) -> str:
        return str(self.config.id2label[number])


def open_predictor(folder: Path, *, threads: int | None = None) -> Predictor:
    """Open a model folder to answer requests.

    Raises:
        DataError: the folder holds no model that takes texts.
    """
    record = read_record(folder)
    model = load_served(folder, record)
    if model.main_input_name != "input_ids":
        raise DataError(f"{folder}: takes {model.main_input_name}; hpo serve answers texts")
    threads = threads or record.threads or torch.get_num_threads()
    torch.set_num_threads(threads)
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
    serve = record.model_copy(update={"threads": threads})
    return Predictor(
        model=open_artefact(model, serve, folder, threads).model,
        tokenizer=tokenizer,
        config=model.config,
        title=record.title,
        max_length=record.max_length or min(tokenizer.model_max_length, 512),
        is_of_tokens=type(model).__name__.endswith("ForTokenClassification"),
    )
