"""Tokenizers trained on the training rows: WordPiece for words, byte-level BPE for any text.

Both keep the case of the text. Byte-level BPE can spell every text and gives it back unchanged;
WordPiece loses blanks and writes [UNK] for characters that the training rows do not have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from hpo_pipeline.errors import DataError

_NAMES = {
    "wordpiece": ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    "bpe": ("<pad>", "<unk>", "<s>", "</s>", "<mask>"),
}


def trained_tokenizer(algorithm: str, inputs: Iterable[Any], vocab_size: int) -> Any:
    """Return a tokenizer of transformers, trained on the texts in the inputs.

    Its rows begin with the first special token and end with the last: `[CLS] … [SEP]` or
    `<s> … </s>`. The two are also its tokens for the beginning and the end of a text.

    Raises:
        DataError: `vocab_size` has no room for the characters that have to be in it.
    """
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    pad, unknown, start, end, mask = names = _NAMES[algorithm]
    train = _wordpiece if algorithm == "wordpiece" else _bpe
    backend = train(inputs, vocab_size, list(names))
    if backend.get_vocab_size() > vocab_size:
        raise DataError(
            f"task.vocab_size: {algorithm} needs at least {backend.get_vocab_size()} tokens for "
            f"the characters of these texts, got {vocab_size}"
        )
    second = 1 if algorithm == "wordpiece" else 0  # BERT tells two texts apart by their type
    backend.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}",
        pair=f"{start} $A {end} $B:{second} {end}:{second}",
        special_tokens=[(token, backend.token_to_id(token)) for token in (start, end)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=pad,
        unk_token=unknown,
        cls_token=start,
        bos_token=start,
        sep_token=end,
        eos_token=end,
        mask_token=mask,
        clean_up_tokenization_spaces=False,
    )


def trained_again(tokenizer: Any, inputs: Iterable[Any], vocab_size: int) -> Any:
    """Return a tokenizer like one of transformers, with a vocabulary of the texts in the inputs.

    The same texts give the same one, as `trained_tokenizer` does.
    """
    from tokenizers import models

    if not isinstance(tokenizer.backend_tokenizer.model, models.WordPiece):
        return tokenizer.train_new_from_iterator(texts_of(inputs), vocab_size)
    found = tokenizer.train_new_from_iterator(texts_of(inputs), 0)  # its characters alone
    characters = _within_words(found.get_vocab())
    again = tokenizer.train_new_from_iterator(
        texts_of(inputs), vocab_size, new_special_tokens=characters
    )
    vocabulary = again.get_vocab()
    found.backend_tokenizer.model = models.WordPiece(vocabulary, unk_token=found.unk_token)
    return found


def texts_of(inputs: Iterable[Any]) -> Iterator[str]:
    """Yield the texts in inputs of any form: texts, pairs, words, or messages."""
    for value in inputs:
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            yield from texts_of(v for k, v in value.items() if k != "role" and v is not None)
        elif isinstance(value, list | tuple):
            yield from texts_of(value)


def _wordpiece(inputs: Iterable[Any], vocab_size: int, special: list[str]) -> Any:
    """Return a tokenizer that the same texts always give.

    The trainer numbers the characters within words as its hash table has them, other than in each
    process before, and of two pairs of like count merges the one with the smaller numbers. What is
    named as special is numbered first, so the characters go in that way, in order.
    """
    from tokenizers import trainers

    def trained(size: int, first: list[str]) -> Any:
        backend = _empty_wordpiece({}, special)
        options: dict[str, Any] = {"vocab_size": size, "special_tokens": first}
        trainer = trainers.WordPieceTrainer(**options, show_progress=False)
        backend.train_from_iterator(texts_of(inputs), trainer)
        return backend

    characters = _within_words(trained(0, special).get_vocab())
    vocabulary = trained(vocab_size, [*special, *characters]).get_vocab()
    backend = _empty_wordpiece(vocabulary, special)
    backend.add_special_tokens(special)  # and no longer the characters
    return backend


def _within_words(vocabulary: Iterable[str]) -> list[str]:
    """Return the single characters that continue a word, in order."""
    return sorted(token for token in vocabulary if token.startswith("##") and len(token) == 3)


def _empty_wordpiece(vocabulary: dict[str, int], special: list[str]) -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    backend: Any = Tokenizer(models.WordPiece(vocabulary, unk_token=special[1]))
    backend.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    return backend


def _bpe(inputs: Iterable[Any], vocab_size: int, special: list[str]) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    backend: Any = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts_of(inputs), trainer)
    return backend
