"""Language models: what is learnt of a row, windows, packing, masks, and the metrics."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, BertConfig, GPT2Config, LlamaConfig

from hpo_pipeline.data.prepared.encoding import LengthCounts
from hpo_pipeline.errors import DataError
from hpo_pipeline.experiment.loading import load, read
from hpo_pipeline.experiment.task import Task
from hpo_pipeline.jobs.check import argument_faults
from hpo_pipeline.results.trial import TrialState
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.tasks.generation.model_sight import sight_of
from hpo_pipeline.tasks.generation.token_windows import Blocks, MaskedWindows, Padded, Windows
from hpo_pipeline.tasks.inputs.token_cutting import IGNORED
from hpo_pipeline.tasks.inputs.trained_tokenizer import trained_again, trained_tokenizer
from hpo_pipeline.tasks.kind import Loaded, rows_of
from hpo_pipeline.tasks.token_metrics import TokenSums, bits_per_byte
from hpo_pipeline.trial.answering.evaluate import evaluate
from tests.conftest import BAD, GOOD, PLAIN
from tests.tasks.prepared import trained
from tests.toys import toy_experiment

KIND = TASKS["language-modeling"]
WORDS = [*GOOD, *BAD, *PLAIN]


def texts(count: int, seed: int = 0) -> list[str]:
    """Sentences in which each word decides the next, but for the first."""
    rng = random.Random(seed)
    starts = [rng.randrange(len(WORDS)) for _ in range(count)]
    return [" ".join(WORDS[(s + i) % len(WORDS)] for i in range(5 + s % 7)) for s in starts]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """A byte-level tokenizer that knows the words."""
    return trained_tokenizer("bpe", texts(200), 320)


def task_of(**fields: Any) -> Task:
    """A task of language modeling."""
    task = {"kind": "language-modeling", "model": "some/model", "data": "some/data", **fields}
    objective = {"metric": "loss", "goal": "minimize"}
    return toy_experiment(task=task, objective=objective).task


def encoded(task: Task, tokenizer: Any, **columns: Any) -> list[dict[str, Any]]:
    """The encoded rows of columns."""
    return rows_of(KIND.encode(task, columns, tokenizer, []))


def learnt(row: dict[str, Any], tokenizer: Any) -> str:
    """The text of a row that is learnt."""
    pairs = zip(row["learnt"][::2], row["learnt"][1::2], strict=True)
    return "|".join(tokenizer.decode(row["input_ids"][start:stop]) for start, stop in pairs)


def test_a_text_is_learnt_whole_with_its_end(tokenizer: Any) -> None:
    (row,) = encoded(task_of(), tokenizer, input=["a film </s> é"])
    assert tokenizer.decode(row["input_ids"]) == "<s>a film </s> é</s>"
    assert row["input_ids"].count(tokenizer.eos_token_id) == 1  # the one in the text is a text
    assert learnt(row, tokenizer) == "a film </s> é</s>"
    assert row["bytes"] == len("a film </s> é".encode()) == 14


def test_of_a_prompt_and_its_completion_the_completion_is_learnt(tokenizer: Any) -> None:
    task = task_of(examples="completions")
    (row,) = encoded(task, tokenizer, input=["the film was"], label=[" great"])
    assert tokenizer.decode(row["input_ids"]) == "<s>the film was great</s>"
    assert learnt(row, tokenizer) == " great</s>"
    assert row["bytes"] == 6


CHAT = [
    {"role": "user", "content": "the film?"},
    {"role": "assistant", "content": "great"},
    {"role": "user", "content": "the book? </s>"},
    {"role": "assistant", "content": "grim"},
    {"role": "user", "content": "thanks"},
]
PLAIN_TEMPLATE = (
    "{% for m in messages %}<s>{{ m.role }}:{{ m.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant:{% endif %}"
)
MARKED_TEMPLATE = (
    "{% for m in messages %}<s>{{ m.role }}:{% if m.role == 'assistant' %}{% generation %}"
    "{{ m.content }}</s>{% endgeneration %}{% else %}{{ m.content }}</s>{% endif %}{% endfor %}"
)


@pytest.mark.parametrize(
    ("template", "said", "size"),
    [(PLAIN_TEMPLATE, "grim</s>", 4), (MARKED_TEMPLATE, "great</s>|grim</s>", 9)],
)
def test_of_a_chat_what_the_assistant_says_is_learnt(
    template: str, said: str, size: int, tokenizer: Any
) -> None:
    tokenizer.chat_template = template
    (row,) = encoded(task_of(examples="chats"), tokenizer, input=[CHAT])
    assert learnt(row, tokenizer) == said
    assert row["bytes"] == size


def test_a_user_cannot_write_control_tokens_into_a_chat(tokenizer: Any) -> None:
    tokenizer.chat_template = PLAIN_TEMPLATE
    (row,) = encoded(task_of(examples="chats"), tokenizer, input=[CHAT])
    assert row["input_ids"].count(tokenizer.eos_token_id) == 4


def test_a_chat_without_the_assistant_teaches_nothing(tokenizer: Any) -> None:
    tokenizer.chat_template = PLAIN_TEMPLATE
    rows = encoded(task_of(examples="chats"), tokenizer, input=[CHAT[:1], CHAT[:2]])
    assert next(row["learnt"] for row in rows) == []
    assert len(Windows.of(rows, 64)) == 1


def test_rows_that_teach_nothing_are_counted_in_the_notes() -> None:
    rows = [{"learnt": learnt, "length": 9} for learnt in ([], [2, 2], [3, 5], [1, 1, 4, 9])]
    lengths = np.array([KIND.length(row) for row in rows])
    assert lengths.tolist() == [0, 0, 9, 9]
    (note,) = LengthCounts.of(lengths, 8, KIND).notes(KIND, 8, "of 4 texts")
    assert note == "2 of 4 texts are without a token to predict: nothing is learnt from them."


def test_a_chat_that_the_template_refuses_is_named(tokenizer: Any) -> None:
    tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(DataError, match=r"refuses a chat of 5 messages .*: roles must alternate"):
        encoded(task_of(examples="chats"), tokenizer, input=[CHAT])


def test_chats_need_a_template() -> None:
    task = task_of(examples="chats", model="gpt2", from_scratch=True)
    task = task.model_copy(update={"vocab_size": 300, "tokenizer": "bpe"})
    with pytest.raises(DataError, match=r"has no chat template.*add the template"):
        KIND.processor(task, "gpt2", texts(50), None)


def test_every_token_is_predicted_once_whatever_the_windows(tokenizer: Any) -> None:
    rows = encoded(task_of(), tokenizer, input=[" ".join(texts(9)), "a", *texts(3)])
    whole = sorted(token for row in rows for token in row["input_ids"][1:])
    for size in (4, 7, 16, 999):
        windows = Windows.of(rows, size)
        found = [windows[i] for i in range(len(windows))]
        assert max(len(w["input_ids"]) for w in found) <= size
        assert [len(w["input_ids"]) for w in found] == windows.lengths()
        labels = [label for w in found for label in w["labels"] if label != IGNORED]
        assert sorted(labels) == whole
        assert all(w["labels"][0] == IGNORED for w in found)


def test_windows_without_a_completion_are_left_out(tokenizer: Any) -> None:
    task = task_of(examples="completions")
    rows = encoded(task, tokenizer, input=["the film " * 30], label=["was great"])
    windows = Windows.of(rows, 16)
    assert 1 <= len(windows) <= 2
    labels = [label for i in range(len(windows)) for label in windows[i]["labels"]]
    assert tokenizer.decode([n for n in labels if n != IGNORED]) == "was great</s>"


def tiny(config: Any) -> Any:
    """A causal model with random weights."""
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()


def gpt2(tokenizer: Any, **fields: Any) -> GPT2Config:
    """The config of a tiny GPT-2."""
    size = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64, **fields}
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    return GPT2Config(vocab_size=len(tokenizer), **size, **ids)


def llama(tokenizer: Any) -> LlamaConfig:
    """The config of a tiny Llama."""
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2}
    return LlamaConfig(vocab_size=len(tokenizer), num_attention_heads=2, **sizes)


def test_packed_texts_are_predicted_as_if_alone(tokenizer: Any) -> None:
    rows = encoded(task_of(), tokenizer, input=texts(12))
    windows = Windows.of(rows, 24)
    blocks = Blocks.of(windows, separate=True)
    assert len(blocks) < len(windows)
    assert sorted(i for block in blocks.blocks for i in block) == [*range(len(windows))]
    collate = Padded(tokenizer, 24)
    for config in (gpt2(tokenizer), llama(tokenizer)):
        model = tiny(config)
        assert sight_of(model).separates
        sums = [TokenSums(), TokenSums()]
        for found, rows_ in zip(sums, (windows, blocks), strict=True):
            batch = collate([rows_[i] for i in range(len(rows_))])
            labels = batch.pop("labels")
            with torch.no_grad():
                found.add(model(**batch, use_cache=False).logits[:, :-1], labels[:, 1:])
        assert sums[0].tokens == sums[1].tokens
        assert sums[0].nats == pytest.approx(sums[1].nats, rel=1e-6)


def test_an_encoder_is_found_out_by_what_it_sees(tokenizer: Any) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(vocab_size=len(tokenizer), intermediate_size=16, **sizes)
    assert sight_of(tiny(config)).later
    config.is_decoder = True
    assert not sight_of(tiny(config)).later


def test_the_metrics_are_those_of_another_calculation() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(3, 5, 11)), rng.integers(11, size=(3, 5))
    labels[0, :2] = labels[2, 4] = IGNORED
    found = TokenSums()
    found.add(torch.tensor(logits), torch.tensor(labels))
    nats, right, count = 0.0, 0, 0
    for i in range(3):
        for j in range(5):
            if labels[i, j] != IGNORED:
                total = math.fsum(math.exp(x) for x in logits[i, j])
                nats -= math.log(math.exp(logits[i, j, labels[i, j]]) / total)
                right += int(max(range(11), key=lambda k: logits[i, j, k]) == labels[i, j])
                count += 1
    metrics = found.metrics
    assert found.tokens == count == 12
    assert metrics["loss"] == pytest.approx(nats / count, rel=1e-9)
    assert metrics["perplexity"] == pytest.approx(math.exp(nats / count), rel=1e-9)
    assert metrics["token_accuracy"] == right / count
    assert bits_per_byte(nats, 40, 3) == pytest.approx((nats / math.log(2) + 24) / 40, rel=1e-9)


def test_an_evaluation_is_that_of_each_token_alone(tokenizer: Any) -> None:
    task = task_of(max_length=16)
    model = tiny(gpt2(tokenizer)).double()
    rows = sorted(encoded(task, tokenizer, input=texts(7)), key=KIND.length)
    loaded = Loaded(model, tokenizer, rows, KIND.collator(task, tokenizer, None), [])
    nats, size = 0.0, 0
    for row in rows:
        size += row["bytes"]
        ids = row["input_ids"]
        for place in range(1, len(ids)):
            start = (place - 1) // 15 * 15
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([ids[start:place]])).logits[0, -1]
            nats -= float(torch.log_softmax(logits, -1)[ids[place]])
    metrics = KIND.evaluate(task, loaded).metrics
    assert metrics["bits_per_byte"] == pytest.approx(nats / math.log(2) / size, rel=1e-9)
    assert metrics["loss"] == pytest.approx(nats / sum(len(r["input_ids"]) - 1 for r in rows))


def test_words_that_a_tokenizer_does_not_know_cost_all_their_bits() -> None:
    tokenizer = trained_tokenizer("wordpiece", texts(200), 120)
    known, unknown = encoded(task_of(), tokenizer, input=["a great film", "a żółw film"])
    assert known["unknown"] == 0
    assert unknown["unknown"] == len("żółw".encode())
    assert (
        encoded(task_of(), trained_tokenizer("bpe", texts(9), 300), input=["ż"])[0]["unknown"] == 0
    )


@pytest.mark.parametrize(("algorithm", "size"), [("wordpiece", 120), ("bpe", 320)])
def test_the_same_texts_give_the_same_tokenizer(algorithm: str, size: int) -> None:
    found = [trained_tokenizer(algorithm, texts(200), size) for _ in range(3)]
    assert found[0].get_vocab() == found[1].get_vocab() == found[2].get_vocab()
    assert len(found[0].all_special_tokens) == 5  # no character among them


def test_a_tokenizer_that_is_trained_again_is_the_same_each_time() -> None:
    base = trained_tokenizer("wordpiece", ["another text"], 60)
    found = [trained_again(base, texts(200), 90) for _ in range(3)]
    assert found[0].get_vocab() == found[1].get_vocab() == found[2].get_vocab()
    assert len(found[0]) == 90
    assert found[0].all_special_tokens == base.all_special_tokens
    ids = found[0]("a great film")["input_ids"]
    assert (ids[0], ids[-1]) == (found[0].cls_token_id, found[0].sep_token_id)
    assert found[0].decode(ids, skip_special_tokens=True) == "a great film"


def masked(tokenizer: Any, rows: Any, **fields: Any) -> MaskedWindows:
    """The masked windows of rows."""
    ends = ([tokenizer.cls_token_id], [tokenizer.sep_token_id])
    plain = [*range(5, len(tokenizer))]
    return MaskedWindows(rows, 16, ends, tokenizer.mask_token_id, plain, 0.3, **fields)


def test_masks_are_the_same_in_each_evaluation_and_others_in_each_epoch(tokenizer: Any) -> None:
    task = task_of(language_model="masked")
    rows = encoded(task, tokenizer, input=texts(40))
    tests = masked(tokenizer, rows)
    once, again = ([tests[i] for i in range(len(tests))] for _ in range(2))
    assert once == again
    found = [
        n
        for w in once
        for n, label in zip(w["input_ids"], w["labels"], strict=True)
        if label != IGNORED
    ]
    assert set(found) == {tokenizer.mask_token_id}
    train = masked(tokenizer, rows, seed=1, epoch=0)
    first = [train[i] for i in range(len(train))]
    train.epoch = 1
    second = [train[i] for i in range(len(train))]
    assert first != second
    hidden = [
        (n, label)
        for w in first + second
        for n, label in zip(w["input_ids"], w["labels"], strict=True)
        if label != IGNORED
    ]
    share = sum(n == tokenizer.mask_token_id for n, _ in hidden) / len(hidden)
    assert 0.7 < share < 0.9
    tokens = sum(len(w["input_ids"]) - 2 for w in first + second)
    assert 0.25 < len(hidden) / tokens < 0.37
    assert all(len(w["input_ids"]) <= 16 for w in first)


SPLITS = {
    "train": {"input": texts(160, 1)},
    "validation": {"input": texts(40, 2)},
    "test": {"input": texts(40, 3)},
}
SCRATCH = """\
kind: language-modeling
model: {model}
data: some/data
from_scratch: true
vocab_size: 300
tokenizer: bpe
max_length: 32
config: {config}
training: {{num_train_epochs: 6, per_device_train_batch_size: 8}}
"""
GPT2 = "{n_embd: 16, n_layer: 1, n_head: 2, n_positions: 64}"
BERT = "{hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 32}"
LR = {"learning_rate": "0.02"}


@pytest.mark.parametrize(
    ("model", "config", "extra"),
    [
        ("gpt2", GPT2, ""),
        ("gpt2", GPT2, "packing: true\n"),
        ("bert", BERT, "language_model: masked\n"),
    ],
    ids=["causal", "packed", "masked"],
)
def test_a_model_from_scratch_learns(
    model: str, config: str, extra: str, write_experiment: Any, tmp_path: Path
) -> None:
    task = SCRATCH.format(model=model, config=config) + extra
    file = write_experiment(task=task, objective="{metric: loss, goal: minimize}")
    _, faults, sections = read(file)
    assert faults + argument_faults(sections) == []
    trial, dataset = trained(file, SPLITS, tmp_path, LR)
    assert trial.state == TrialState.SUCCEEDED, trial.reason
    share = 0.75 if model == "gpt2" else 0.95
    assert trial.curve[-1].metrics["loss"] < share * trial.curve[0].metrics["loss"]
    tested = evaluate(load(file), dataset, tmp_path / "trials/t/model", 32).metrics
    assert tested["loss"] == pytest.approx(trial.metrics["loss"], rel=0.3)
    assert ("bits_per_byte" in tested) == ("bits_per_byte" in trial.metrics) == (model == "gpt2")


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"language_model": "masked", "packing": True}, "packing is for causal models"),
        ({"language_model": "masked", "examples": "chats"}, "a masked model learns from texts"),
        ({"mlm_probability": 1.0}, "less than 1"),
    ],
)
def test_fields_that_do_not_go_together(fields: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        task_of(**fields)


@pytest.mark.parametrize(
    ("model", "config", "extra", "fault"),
    [
        ("bert", BERT, "", "bert is an encoder, which would see the tokens"),
        ("gpt2", GPT2, "language_model: masked\n", "gpt2 is a decoder, which sees no later token"),
    ],
)
def test_a_model_of_the_other_sort_is_found_by_the_check(
    model: str, config: str, extra: str, fault: str, write_experiment: Any
) -> None:
    task = SCRATCH.format(model=model, config=config) + extra
    file = write_experiment(task=task, objective="{metric: loss, goal: minimize}")
    faults = argument_faults(read(file)[2])
    assert len(faults) == 1
    assert fault in faults[0]


def test_own_metrics_are_refused(write_experiment: Any) -> None:
    task = SCRATCH.format(model="gpt2", config=GPT2) + "metrics: {mine: 'os.path:join'}\n"
    file = write_experiment(task=task, objective="{metric: loss, goal: minimize}")
    assert "computes no metrics of yours" in argument_faults(read(file)[2])[0]


def test_evaluation_batches_are_bounded_by_memory() -> None:
    from hpo_pipeline.tasks.token_metrics import rows_at_once

    assert rows_at_once(64, 128, 1000) == 64
    assert rows_at_once(64, 2048, 32_000) == 1
    assert rows_at_once(64, 128, 32_000) == 8
