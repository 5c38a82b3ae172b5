"""The kinds of task: a table from `task.kind` to everything that is special about it.

A new kind is a file in one of the folders and a row here. The schema, the preparation, the trial,
the evaluation and the model card read the table, and nothing else knows a kind by its name.
"""

from __future__ import annotations

from hpo_pipeline.tasks import custom
from hpo_pipeline.tasks.classification import image_classification, text_classification
from hpo_pipeline.tasks.generation import language_modeling, seq2seq
from hpo_pipeline.tasks.kind import TaskKind
from hpo_pipeline.tasks.tagging import token_classification

TASKS: dict[str, TaskKind] = {
    "text-classification": text_classification.KIND,
    "token-classification": token_classification.KIND,
    "image-classification": image_classification.KIND,
    "custom": custom.KIND,
    "language-modeling": language_modeling.KIND,
    "seq2seq": seq2seq.KIND,
}
