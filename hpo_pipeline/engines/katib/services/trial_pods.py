"""Which pod of a trial calls: the address of a caller says for which trial it may speak.

All trials of an experiment know its token, so the token does not tell them apart. The address of a
pod does: without the capability NET_RAW, which trials do not have, a pod can call from its own
address only. Some networks hide addresses, though. So a caller whose address is that of no trial is
taken at its word until a call comes from the address of its trial's pod. From then on, addresses
are known to be real here, and every caller's must be that of its trial's pod.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable
from urllib.parse import unquote

from hpo_pipeline.engines.katib.services.disruptions import ENDED
from hpo_pipeline.engines.katib.services.serving import NotAllowed, NotNow
from hpo_pipeline.engines.katib.trial_template import EXPERIMENT_POD_LABEL
from hpo_pipeline.engines.kubernetes.api import PODS, Api
from hpo_pipeline.engines.kubernetes.names import JOB_LABEL
from hpo_pipeline.errors import ClusterError

logger = logging.getLogger(__name__)

FORBIDDEN = 403
LIST_SECONDS = 1.0
"""Pods are listed at most this often, however many callers there are."""


class TrialPods:
    """The addresses of the pods of an experiment's trials, as last seen."""

    def __init__(self, api: Api, namespace: str, *, clock: Callable[[], float]) -> None:
        self._api, self._namespace, self._clock = api, namespace, clock
        self._listed = -LIST_SECONDS
        self._trials: dict[str, str] = {}
        self._are_real = False
        self._is_forbidden = False

    def require(self, experiment: str, trial: str, peer: str) -> None:
        """Check that a peer is not the pod of another trial.

        Args:
            peer: as gRPC writes it. The pod of this service itself may speak for any trial.

        Raises:
            NotAllowed: it is the pod of another trial.
            NotNow: it is no pod that is known yet, or the cluster does not answer.
        """
        if is_beside(peer) or self._is_forbidden:
            return
        address = address_of(peer)
        if self._trials.get(address) != trial and self._clock() - self._listed >= LIST_SECONDS:
            self._list(experiment)
            self._listed = self._clock()
        found = self._trials.get(address)
        if found == trial:
            self._are_real = True
        elif found is not None:
            raise NotAllowed(f"{found} may not speak for {trial}")
        elif self._are_real and not self._is_forbidden:
            raise NotNow(f"the caller's address, {address}, is not that of a trial's pod")

    def _list(self, experiment: str) -> None:
        labels = f"{EXPERIMENT_POD_LABEL}={experiment},{JOB_LABEL}"
        try:
            pods = self._api.list(PODS, self._namespace, labels=labels)["items"]
        except ClusterError as error:
            if error.status != FORBIDDEN:
                raise NotNow(str(error)) from error
            # A Role of an earlier version: the token alone decides.
            logger.warning("%s; apply manifests/base again", error)
            self._is_forbidden = True
            return
        self._trials = {
            _plain(str(entry["ip"])): pod["metadata"]["labels"][JOB_LABEL]
            for pod in pods
            if (pod.get("status") or {}).get("phase") not in ENDED
            for entry in (pod.get("status") or {}).get("podIPs") or ()
        }


def is_beside(peer: str) -> bool:
    """Return whether a peer, as gRPC writes it, is in the same pod."""
    address = address_of(peer)
    return peer.startswith("unix:") or address == "::1" or address.startswith("127.")


def address_of(peer: str) -> str:
    """Return the IP address in a peer such as `ipv4:10.0.0.7:41234`; empty where there is none."""
    kind, _, address = unquote(peer).partition(":")
    return _plain(address.rpartition(":")[0].strip("[]")) if kind in ("ipv4", "ipv6") else ""


def _plain(address: str) -> str:
    """Return an address in the one way in which it can be compared."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found)
