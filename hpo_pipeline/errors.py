"""The exceptions that this package raises on purpose.

HpoError
├── ExperimentError   the experiment file is wrong: all its faults, each with its path
├── DataError         data, a model folder or an asset cannot be used
├── TrialError        one trial failed; the search continues
├── BackendError      the search itself cannot continue
│   ├── RunFolderError   the run folder is in use, of another experiment, or not writable
│   ├── ClusterError     the cluster refused or could not be reached
│   └── ModelMissing     the model of a finished trial is not kept any more
├── PipelineError     Kubeflow Pipelines refused or could not be reached
│   └── ScheduleError    a schedule, its parameters or the endpoint cannot be used as given
├── MonitoringError   what shows runs cannot start: a port in use, a package that is missing
├── TrackingError     a tracker does not answer now, or refuses what it is sent
│   └── Refused          this entry will never be taken
└── RegistryError     a model cannot be registered, found or promoted
    └── ModelFilesError  the files of a registered model are missing or changed

A message says where, what was found and what is allowed; the command line prints it without a
traceback. ExperimentError, DataError, ScheduleError and MonitoringError are the user's to mend
(exit code 2). Errors of other libraries are translated where a user can do something about them
and are left alone elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence


class HpoError(Exception):
    """Base of every error that this package raises on purpose."""

    exit_code = 1


class ExperimentError(HpoError):
    """An experiment file that cannot be run; `faults` holds one line for each fault."""

    exit_code = 2

    def __init__(self, source: str, faults: Sequence[str]) -> None:
        self.source = source
        self.faults = tuple(faults)
        noun = "fault" if len(self.faults) == 1 else "faults"
        lines = "".join(f"\n  - {fault}" for fault in self.faults)
        super().__init__(f"{source}: {len(self.faults)} {noun}{lines}")


class DataError(HpoError):
    """Data, a model folder or an asset that cannot be used as asked."""

    exit_code = 2


class TrialError(HpoError):
    """A trial that cannot give a result; the message is the reason shown to the user."""


class BackendError(HpoError):
    """A search that cannot start or continue."""


class RunFolderError(BackendError):
    """A run folder that this experiment cannot use: another's, in use, or not writable."""

    exit_code = 2


class ClusterError(BackendError):
    """A request that the cluster refused, or that did not reach it.

    `status` is the HTTP status, 0 where there was no answer.
    """

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class ModelMissing(BackendError):
    """The model of a finished trial that is not kept any more; it can be trained again."""

    exit_code = 75


class PipelineError(HpoError):
    """A request that Kubeflow Pipelines refused, or that did not reach it.

    `status` is the HTTP status, 0 where there was no answer.
    """

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class ScheduleError(PipelineError):
    """A schedule, its parameters or an endpoint that cannot be used as given."""

    exit_code = 2


class MonitoringError(HpoError):
    """What shows runs cannot start: a port in use, a wrong address, a package that is missing."""

    exit_code = 2


class TrackingError(HpoError):
    """A tracker that cannot be sent anything now; what is queued is sent later."""


class Refused(TrackingError):
    """An entry that a tracker will never take, such as a trial that somebody deleted there."""


class RegistryError(HpoError):
    """A model that cannot be registered, found or promoted."""


class ModelFilesError(RegistryError):
    """A registered model whose files are missing, or are not those that were registered."""
