"""The user's own metrics: functions that the experiment file names as `module:function`.

A module beside the experiment file is loaded from there, alone and under a name of its own, so that
its neighbours hide nothing and run nothing. Any other is one of the installed packages, as in an
image of the cluster.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Callable
from functools import lru_cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from hpo_pipeline.errors import TrialError

UserMetric = Callable[[Any, Any], float]


def located(target: str, folder: Path) -> str:
    """Return `folder/module:function` where the module is in the folder, else the target."""
    found = f"{folder}/{target}"
    return target if "/" in target or _file(found) is None else found


def metric_fault(target: str) -> str | None:
    """Return why a metric cannot be loaded, or None; nothing of its module is run."""
    module, function = _parts(target)[1:]
    file = _file(target)
    if file is None and module.partition(".")[0] in sys.stdlib_module_names:
        return f"{module} is a module of Python; name a function of yours, got {target}"
    file = file or _installed(module)
    if file is None:
        return (
            f"there is no module {module} beside the experiment file or among the installed "
            f"packages, got {target}"
        )
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError) as error:
        return f"{file.name} cannot be read as Python: {error}"
    return None if function in _functions(tree) else f"{file.name} has no function {function}"


def user_metric(target: str) -> UserMetric:
    """Return the metric that `module:function` names, with the folder of the module before it.

    Raises:
        TrialError: there is no such module or function, or importing the module fails.
    """
    found: UserMetric = user_function(target, "the metric")
    return found


def user_function(target: str, role: str) -> Callable[..., Any]:
    """Return a function of the user's; `role` says in messages what it is for.

    Raises:
        TrialError: there is no such module or function, or importing the module fails.
    """
    _, module, function = _parts(target)
    file = _file(target)
    try:
        loaded = importlib.import_module(module) if file is None else _load(str(file))
        found: Callable[..., Any] = getattr(loaded, function)
    # Foreign code may raise anything when it is imported, as below when it is called.
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise TrialError(f"{role} {shown(target)} cannot be loaded: {reason}") from error
    if not callable(found):
        raise TrialError(f"{role} {shown(target)} is not a function, got {found!r}")
    return found


def measure_own(name: str, target: str, probabilities: Any, labels: Any) -> float:
    """Call a user's metric with the probabilities (rows x labels) and the labels.

    Raises:
        TrialError: it cannot be loaded, it raises, or it does not return a number.
    """
    function = user_metric(target)
    try:
        return float(function(probabilities, labels))
    # Foreign code may raise anything, and the trial should say whose code it was.
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise TrialError(f"the metric {name} ({shown(target)}) raised {reason}") from error


def shown(target: str) -> str:
    """Return `module:function` without the folder."""
    return target.rpartition("/")[2]


def _parts(target: str) -> tuple[str, str, str]:
    """Return folder, module and function; the folder is empty where the target names none."""
    where, _, function = target.rpartition(":")
    folder, _, module = where.rpartition("/")
    return folder, module, function


def _file(target: str) -> Path | None:
    """Return the file of a target that names a folder, where it exists on this machine."""
    folder, module, _ = _parts(target)
    if not folder:
        return None
    place = Path(folder, *module.split("."))
    files = (place.with_name(f"{place.name}.py"), place / "__init__.py")
    return next((file for file in files if file.is_file()), None)


@lru_cache
def _load(file: str) -> Any:
    """Run a module from its file, once, without a change to where others are looked for."""
    spec = importlib.util.spec_from_file_location(f"_user_metrics_{abs(hash(file))}", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # as dataclasses and pickle expect it
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise
    return module


def _installed(module: str) -> Path | None:
    """Return the source of an installed module; finding it imports nothing."""
    path = None
    spec = None
    names = module.split(".")
    for i in range(len(names)):
        spec = PathFinder.find_spec(".".join(names[: i + 1]), path)
        if spec is None:
            return None
        path = spec.submodule_search_locations
    origin = spec.origin if spec is not None else None
    return Path(origin) if origin is not None and origin.endswith(".py") else None


def _functions(tree: ast.Module) -> set[str]:
    """Return the names that a module may hold a function under: defined, imported or assigned."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign) and not isinstance(node.value, ast.Constant):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names
