"""The spans of a run: the whole, and each stage. trial/reporting/tracing.py sends them."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Concatenate, ParamSpec, Protocol, TypeVar, cast

from hpo_pipeline.engines import RunContext
from hpo_pipeline.trial.reporting.tracing import EXPERIMENT, NO_TRACING, RUN, open_tracing

P = ParamSpec("P")
T = TypeVar("T")


class _HasContext(Protocol):
    _context: RunContext


S = TypeVar("S", bound=_HasContext)


@contextmanager
def traced(context: RunContext, name: str, engine: str) -> Iterator[RunContext]:
    """Trace a run, or a step of it, during the block, whose folder is locked."""
    attributes = {RUN: context.folder.run_id(), EXPERIMENT: context.experiment.name}
    tracing = open_tracing(os.environ, attributes, context.progress.say)
    if tracing is NO_TRACING:
        yield context
        return
    try:
        with tracing.span(name, engine=engine):
            yield replace(context, tracing=tracing)
    finally:
        tracing.close()


def stage(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Make a method of a flow a span under its name."""

    @functools.wraps(method)
    def within(self: S, *arguments: P.args, **named: P.kwargs) -> T:
        with self._context.tracing.span(method.__name__):
            return method(self, *arguments, **named)

    return cast("Callable[Concatenate[S, P], T]", within)
