"""Experiments that a person wrote for Katib, with our algorithms: served, or refused in words."""

import pytest

from hpo_pipeline.engines.katib.services import convert
from hpo_pipeline.engines.katib.services.suggestion import SuggestionService
from hpo_pipeline.trial.wire import katib_pb2 as wire


def foreign(algorithm="random", settings=(), parameters=(), trials=12):
    """A message as Katib sends it for an experiment in the style of its examples."""
    message = wire.Experiment(name="by-hand")
    spec = message.spec
    spec.objective.objective_metric_name = "Validation-accuracy"
    spec.objective.type = wire.MAXIMIZE
    spec.algorithm.algorithm_name = f"hpo-{algorithm}"
    spec.max_trial_count, spec.parallel_trial_count = trials, 2
    for name, value in settings:
        spec.algorithm.algorithm_settings.add(name=name, value=value)
    for parameter in parameters or (number("lr", "0.01", "0.03"),):
        spec.parameter_specs.parameters.append(parameter)
    return message


def number(name, low, high, kind=wire.DOUBLE, **space):
    feasible = wire.FeasibleSpace(min=low, max=high, **space)
    return wire.ParameterSpec(name=name, parameter_type=kind, feasible_space=feasible)


def listed(name, *values):
    feasible = wire.FeasibleSpace(list=values)
    return wire.ParameterSpec(name=name, parameter_type=wire.CATEGORICAL, feasible_space=feasible)


def proposals(message, count=1, total=None):
    """Return what is proposed, each as a mapping."""
    request = wire.GetSuggestionsRequest(
        experiment=message,
        current_request_number=count,
        total_request_number=count if total is None else total,
    )
    reply = SuggestionService().GetSuggestions(request, None)
    return [{a.name: a.value for a in found.assignments} for found in reply.parameter_assignments]


def test_names_are_whatever_katib_takes():
    layers = number("num-layers", "2", "5", wire.INT)
    (found,) = proposals(foreign(parameters=[layers, listed("optimizer:kind", "sgd", "adam")]))
    assert 2 <= int(found["num-layers"]) <= 5
    assert found["optimizer:kind"] in ("sgd", "adam")


@pytest.mark.parametrize("algorithm", ["random", "tpe", "genetic"])
def test_a_parameter_called_parent_is_one_like_any_other(algorithm):
    settings = [("population", "2")] if algorithm == "genetic" else []
    message = foreign(
        algorithm, settings, [listed("parent", "mother", "none"), number("x", "0", "1")]
    )
    (found,) = proposals(message)
    assert found["parent"] in ("mother", "none")


def test_bounds_of_an_int_may_be_written_as_floats():
    (found,) = proposals(foreign(parameters=[number("n", "5.0", "1e2", wire.INT, step="5.0")]))
    assert int(found["n"]) % 5 == 0


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (foreign(settings=[("conditions", "[]")]), "settings.conditions"),
        (foreign(settings=[("conditions", "5")]), "settings.conditions"),
        (foreign(settings=[("start", "5")]), "settings.start"),
        (foreign(settings=[("start", '[{"lr": 3}]')]), "settings.start.0.lr"),
        (foreign(settings=[("earlier", "5")]), "settings.earlier"),
        (foreign(settings=[("earlier", '[["a"]]')]), "settings.earlier.0"),
        (foreign(settings=[("objectives", '{"metric": 1}')]), "settings.objectives"),
        (foreign(settings=[("seed", "[" * 100_000)]), "nested too deep"),
        (foreign(settings=[("seed", "many")]), "settings.seed"),
        (foreign(settings=[("constraints", '["nope <= 1"]')]), "read nope"),
        (foreign(parameters=[number("n", "1", "9", wire.INT, step="0.8")]), "step of an int"),
        (foreign(parameters=[number("n", "low", "9")]), "min must be a number, got 'low'"),
        (foreign(parameters=[number("n", "1", "9", wire.UNKNOWN_TYPE)]), "parameterType must be"),
        (foreign(parameters=[number("n", "0", "1", distribution=wire.NORMAL)]), "normal ones have"),
        (foreign("grid", parameters=[number("n", "1", "3", wire.INT)]), "only 3 points, got 12"),
    ],
)
def test_what_cannot_be_served_is_refused_with_the_reason(message, said):
    with pytest.raises(ValueError, match=said):
        convert.search_problem(message)


def test_a_request_without_a_total_means_the_trials_after_those_it_lists():
    message = foreign()
    first = proposals(message, count=2, total=0)
    assert first == proposals(message, count=2, total=2)
    assert len(proposals(message, count=3, total=1)) == 3


def test_an_absurd_number_of_trials_is_refused():
    with pytest.raises(ValueError, match="current_request_number must be"):
        SuggestionService.GetSuggestions.__wrapped__(
            SuggestionService(),
            wire.GetSuggestionsRequest(experiment=foreign(), current_request_number=2**31 - 1),
            None,
        )
