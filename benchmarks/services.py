"""What a suggestion service takes with many trials behind it: seconds and memory.

    python benchmarks/services.py [--algorithm tpe] [--trials 1000]

A service in a process of its own is asked as Katib asks it: cold, as after the end of its pod,
and again with one more trial.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from multiprocessing.connection import Connection
from pathlib import Path

import grpc
import numpy as np

from hpo_pipeline.engines.katib.services.serving import start
from hpo_pipeline.engines.katib.services.suggestion import SuggestionService
from hpo_pipeline.trial.wire import katib_pb2 as wire
from hpo_pipeline.trial.wire import katib_pb2_grpc


def serve(pipe: Connection) -> None:
    """Serve until the pipe closes; answer each word with the process's memory."""
    service = SuggestionService()

    def add(server: grpc.Server) -> None:
        katib_pb2_grpc.add_SuggestionServicer_to_server(service, server)

    server, port = start("127.0.0.1:0", add, workers=4)
    pipe.send(port)
    while pipe.recv():
        status = Path("/proc/self/status").read_text()
        lines = dict(line.split(":", 1) for line in status.splitlines())
        pipe.send({name: int(lines[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM")})
    server.stop(None)


def experiment(algorithm: str, trials: int) -> wire.Experiment:
    """Return an experiment over four parameters."""
    found = wire.Experiment(name="bench")
    found.spec.max_trial_count, found.spec.parallel_trial_count = 2 * trials, 2
    found.spec.objective.objective_metric_name = "accuracy"
    found.spec.objective.type = wire.MAXIMIZE
    found.spec.algorithm.algorithm_name = f"hpo-{algorithm}"
    for name, low, high in (("learning_rate", "1e-5", "0.1"), ("weight_decay", "1e-4", "0.3")):
        space = wire.FeasibleSpace(min=low, max=high, distribution=wire.LOG_UNIFORM)
        found.spec.parameter_specs.parameters.add(
            name=name, parameter_type=wire.DOUBLE, feasible_space=space
        )
    layers = wire.FeasibleSpace(min="1", max="12")
    found.spec.parameter_specs.parameters.add(
        name="model.num_hidden_layers", parameter_type=wire.INT, feasible_space=layers
    )
    optim = wire.FeasibleSpace(list=["adamw_torch", "sgd", "adafactor"])
    found.spec.parameter_specs.parameters.add(
        name="optim", parameter_type=wire.CATEGORICAL, feasible_space=optim
    )
    return found


def ended(count: int) -> list[wire.Trial]:
    """Return trials with random configurations and values."""
    random, found = np.random.default_rng(0), []
    for number in range(count):
        trial = wire.Trial(name=f"bench-{number:04d}")
        values = {
            "learning_rate": repr(float(10 ** random.uniform(-5, -1))),
            "weight_decay": repr(float(10 ** random.uniform(-4, -0.6))),
            "model.num_hidden_layers": str(random.integers(1, 13)),
            "optim": str(random.choice(["adamw_torch", "sgd", "adafactor"])),
        }
        for name, value in values.items():
            trial.spec.parameter_assignments.assignments.add(name=name, value=value)
        trial.status.condition = wire.TrialStatus.SUCCEEDED
        trial.status.start_time = f"2026-01-01T{number // 3600:02d}:{number // 60 % 60:02d}:00Z"
        trial.status.completion_time = trial.status.start_time.replace("00Z", "30Z")
        metric = trial.status.observation.metrics
        metric.add(name="accuracy", value=repr(float(random.uniform())))
        found.append(trial)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--algorithm", default="tpe")
    parser.add_argument("--trials", type=int, default=1000)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs,))
    process.start()
    stub = katib_pb2_grpc.SuggestionStub(grpc.insecure_channel(f"127.0.0.1:{ours.recv()}"))
    trials = ended(options.trials + 1)
    for label, count in (("cold", options.trials), ("next", options.trials + 1)):
        request = wire.GetSuggestionsRequest(
            experiment=experiment(options.algorithm, options.trials),
            trials=trials[:count],
            current_request_number=1,
            total_request_number=count + 1,
        )
        begin = time.perf_counter()
        stub.GetSuggestions(request, timeout=60)
        seconds = time.perf_counter() - begin
        ours.send("memory")
        memory = ours.recv()
        print(
            f"{options.algorithm} with {count} trials, {label}: {seconds:.2f} s, "
            f"{memory['VmRSS']:.0f} MiB (peak {memory['VmHWM']:.0f})"
        )
    ours.send("")
    process.join()


if __name__ == "__main__":
    main()
