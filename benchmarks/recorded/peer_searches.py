"""Searches of peers that play on the recorded studies, each with its own defaults.

- Optuna's TPE with its median, successive-halving and Hyperband pruners, by ask and tell;
- Hyperopt's TPE, which has no early stopping;
- DEHB (Awad et al., IJCAI 2021), differential evolution with Hyperband. It does not resume a
  configuration at a higher fidelity: each evaluation trains from the start, and counts as such.

The extra `peers` has Hyperopt. DEHB asks for numpy below 2, but works with 2:
`pip install --no-deps dehb ConfigSpace distributed dask loguru more-itertools`.
"""

from __future__ import annotations

import contextlib
import logging
import math
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

from table import Source

from hpo_pipeline.results.trial import Point, Trial, TrialState
from hpo_pipeline.search.study import Suggestion


class OptunaSearch:
    """A study of Optuna with its default sampler and one of its pruners."""

    def __init__(self, source: Source, seed: int, pruner: str | None) -> None:
        import optuna

        from hpo_pipeline.experiment.space import Space
        from hpo_pipeline.search.distributions import distributions

        pruners: dict[str | None, Callable[[], Any]] = {
            None: optuna.pruners.NopPruner,
            "median": optuna.pruners.MedianPruner,
            "halving": optuna.pruners.SuccessiveHalvingPruner,
            "hyperband": lambda: optuna.pruners.HyperbandPruner(max_resource=source.epochs),
        }
        self._distributions = distributions(Space.model_validate(source.space))
        self._study = optuna.create_study(
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=seed),
            pruner=pruners[pruner](),
        )
        self._trials: dict[int, Any] = {}

    def ask(self) -> Suggestion:
        """Return a configuration to try."""
        trial = self._study.ask(self._distributions)
        self._trials[trial.number] = trial
        return Suggestion(trial.number, dict(trial.params))

    def report(self, number: int, point: Point) -> None:
        """Take an evaluation of a trial."""
        self._trials[number].report(point.metrics["accuracy"], point.step)

    def should_stop(self, number: int, curve: Sequence[Point]) -> bool:
        """Return whether its pruner ends the trial."""
        return bool(self._trials[number].should_prune())

    def tell(self, trial: Trial) -> None:
        """Take a trial that has ended."""
        import optuna

        is_stopped = trial.state == TrialState.STOPPED
        state = optuna.trial.TrialState.PRUNED if is_stopped else None
        value = None if is_stopped else trial.metrics["accuracy"]
        self._study.tell(self._trials.pop(trial.number), value, state=state)

    def is_exhausted(self) -> bool:
        """Return that there is always more to try."""
        return False


class HyperoptSearch:
    """Hyperopt's TPE, told of trials as they end."""

    def __init__(self, source: Source, seed: int, _: None = None) -> None:
        from hyperopt import Trials, hp
        from hyperopt.base import Domain

        def dimension(name: str, given: dict[str, Any]) -> Any:
            if given["type"] == "choice":
                return hp.choice(name, given["values"])
            if given["type"] == "int":
                return hp.randint(name, given["low"], given["high"] + 1)
            return hp.loguniform(name, math.log(given["low"]), math.log(given["high"]))

        self._space = {name: dimension(name, given) for name, given in source.space.items()}
        self._domain = Domain(lambda values: 0.0, self._space)
        self._trials = Trials()
        self._seed = seed

    def ask(self) -> Suggestion:
        """Return a configuration to try."""
        from hyperopt import space_eval, tpe

        (number,) = self._trials.new_trial_ids(1)
        seed = (self._seed + 2_654_435_761 * (number + 1)) % 2**32
        (document,) = tpe.suggest([number], self._domain, self._trials, seed, verbose=False)
        document["state"] = 1  # it runs
        self._trials.insert_trial_doc(document)
        self._trials.refresh()
        chosen = {name: values[0] for name, values in document["misc"]["vals"].items()}
        found = space_eval(self._space, chosen)
        return Suggestion(
            number, {n: v.item() if hasattr(v, "item") else v for n, v in found.items()}
        )

    def report(self, number: int, point: Point) -> None:
        """Pass it over."""

    def should_stop(self, number: int, curve: Sequence[Point]) -> bool:
        """Return that no trial is stopped."""
        return False

    def tell(self, trial: Trial) -> None:
        """Take a trial that has ended."""
        document = next(d for d in self._trials._dynamic_trials if d["tid"] == trial.number)
        document["state"] = 2
        document["result"] = {"status": "ok", "loss": 1 - trial.metrics["accuracy"]}
        self._trials.refresh()

    def is_exhausted(self) -> bool:
        """Return that there is always more to try."""
        return False


class DehbSearch:
    """DEHB over epochs, from 1 to all of them."""

    def __init__(self, source: Source, seed: int, _: None = None) -> None:
        import ConfigSpace
        from dehb import DEHB
        from loguru import logger

        logger.remove()
        logging.disable(logging.WARNING)
        kinds: list[Any] = []
        for name, given in source.space.items():
            if given["type"] == "choice":
                kinds.append(ConfigSpace.CategoricalHyperparameter(name, given["values"]))
            elif given["type"] == "int":
                kinds.append(
                    ConfigSpace.UniformIntegerHyperparameter(name, given["low"], given["high"])
                )
            else:
                kinds.append(
                    ConfigSpace.UniformFloatHyperparameter(
                        name, given["low"], given["high"], log=True
                    )
                )
        space = ConfigSpace.ConfigurationSpace(seed=seed)
        space.add(kinds)
        self._folder = tempfile.TemporaryDirectory()
        with contextlib.redirect_stderr(sys.stdout):
            self._search = DEHB(
                cs=space,
                dimensions=len(kinds),
                min_fidelity=1,
                max_fidelity=source.epochs,
                n_workers=1,  # more would start a cluster; it is asked for four at a time
                seed=seed,
                save_freq="end",
                output_path=self._folder.name,
            )
        self._low = {n: g["low"] for n, g in source.space.items() if g["type"] == "float"}
        self._high = {n: g["high"] for n, g in source.space.items() if g["type"] == "float"}
        self._jobs: dict[int, Any] = {}
        self._count = 0

    def ask(self) -> Suggestion:
        """Return a configuration to try."""
        job = self._search.ask()
        number, self._count = self._count, self._count + 1
        self._jobs[number] = job
        found = {n: v.item() if hasattr(v, "item") else v for n, v in dict(job["config"]).items()}
        return Suggestion(number, found)

    def report(self, number: int, point: Point) -> None:
        """Pass it over."""

    def should_stop(self, number: int, curve: Sequence[Point]) -> bool:
        """Return whether the trial has trained as long as it was meant to."""
        return len(curve) >= round(self._jobs[number]["fidelity"])

    def tell(self, trial: Trial) -> None:
        """Take a trial that has ended."""
        fitness = 1 - max(point.metrics["accuracy"] for point in trial.curve)
        cost = float(len(trial.curve))
        self._search.tell(self._jobs.pop(trial.number), {"fitness": fitness, "cost": cost})

    def is_exhausted(self) -> bool:
        """Return that there is always more to try."""
        return False


PEERS: dict[str, Callable[[Source, int], Any]] = {
    "Optuna TPE": lambda source, seed: OptunaSearch(source, seed, None),
    "Optuna TPE + median": lambda source, seed: OptunaSearch(source, seed, "median"),
    "Optuna TPE + halving": lambda source, seed: OptunaSearch(source, seed, "halving"),
    "Optuna TPE + Hyperband": lambda source, seed: OptunaSearch(source, seed, "hyperband"),
    "Hyperopt TPE": HyperoptSearch,
    "DEHB": DehbSearch,
}
