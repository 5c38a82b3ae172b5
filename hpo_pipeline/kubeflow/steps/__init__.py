"""The stages of a run as steps of a pipeline, each in a pod of its own whose disk is then lost.

experiment_text.py: the experiment as the pipeline's parameters give it. workspace.py: the run
folder, which goes from step to step, and models.py its models. stages.py: the steps. artifacts.py:
what they show. Nothing here knows kfp: the components of `pipelines/` import and call.
"""

from hpo_pipeline.kubeflow.steps.artifacts import report, shown_gate, shown_model
from hpo_pipeline.kubeflow.steps.experiment_text import Checked, check, overriding
from hpo_pipeline.kubeflow.steps.stages import (
    confirm,
    gate,
    prepare,
    register,
    search,
    select,
    wind_up,
)

__all__ = [
    "Checked",
    "check",
    "confirm",
    "gate",
    "overriding",
    "prepare",
    "register",
    "report",
    "search",
    "select",
    "shown_gate",
    "shown_model",
    "wind_up",
]
