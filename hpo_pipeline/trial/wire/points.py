"""Points of a curve as messages, and back."""

from __future__ import annotations

from hpo_pipeline.results.trial import Point
from hpo_pipeline.trial.wire import live_pb2


def to_message(point: Point) -> live_pb2.Point:
    """Return the message of a point."""
    return live_pb2.Point(
        step=point.step,
        training_step=point.training_step,
        epoch=point.epoch,
        metrics=point.metrics,
    )


def from_message(message: live_pb2.Point) -> Point:
    """Return the point of a message."""
    return Point(message.step, message.training_step, message.epoch, dict(message.metrics))
