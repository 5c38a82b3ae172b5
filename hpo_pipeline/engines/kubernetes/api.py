"""The door to Kubernetes: requests go out, plain objects and ClusterErrors come back.

It decides nothing. `FakeCluster` of the tests has the same methods.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from hpo_pipeline.errors import ClusterError

Object = dict[str, Any]
CONNECT_TIMEOUT = 5
READ_TIMEOUT = 30
WATCH_SECONDS = 240
TRANSIENT = (429, 500, 502, 503, 504)
"""The server is busy or changes over, or a webhook of it does: Katib's controller starts anew."""
PAUSES = (0.5, 1, 2, 4, 8, 8, 8)


@dataclass(frozen=True)
class Kind:
    """A kind of object, as the API server names it."""

    group: str
    version: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str, name: str = "", subresource: str = "") -> str:
        """Return the path of the collection, of an object, or of a part of it.

        An empty namespace means all of them.
        """
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = ["namespaces", namespace] if self.namespaced and namespace else []
        return "/".join([root, *parts, self.plural, *filter(None, (name, subresource))])


EXPERIMENTS = Kind("kubeflow.org", "v1beta1", "experiments")
TRIALS = Kind("kubeflow.org", "v1beta1", "trials")
SUGGESTIONS = Kind("kubeflow.org", "v1beta1", "suggestions")
CONFIG_MAPS = Kind("", "v1", "configmaps")
PODS = Kind("", "v1", "pods")
EVENTS = Kind("", "v1", "events")
CLAIMS = Kind("", "v1", "persistentvolumeclaims")
LIMIT_RANGES = Kind("", "v1", "limitranges")
SECRETS = Kind("", "v1", "secrets")
QUOTAS = Kind("", "v1", "resourcequotas")
SERVICE_ACCOUNTS = Kind("", "v1", "serviceaccounts")
NAMESPACES = Kind("", "v1", "namespaces", namespaced=False)
NODES = Kind("", "v1", "nodes", namespaced=False)
JOBS = Kind("batch", "v1", "jobs")
DEPLOYMENTS = Kind("apps", "v1", "deployments")
CRDS = Kind("apiextensions.k8s.io", "v1", "customresourcedefinitions", namespaced=False)
SELF_REVIEWS = Kind("authentication.k8s.io", "v1", "selfsubjectreviews", namespaced=False)
STORAGE_CLASSES = Kind("storage.k8s.io", "v1", "storageclasses", namespaced=False)
REVIEWS = Kind("authorization.k8s.io", "v1", "selfsubjectaccessreviews", namespaced=False)
OTHERS_REVIEWS = Kind("authorization.k8s.io", "v1", "localsubjectaccessreviews")


class Api(Protocol):
    """What the cluster can be asked for. Every method raises ClusterError."""

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Return an object."""

    def list(
        self,
        kind: Kind,
        namespace: str,
        *,
        labels: str = "",
        fields: str = "",
        limit: int = 0,
        after: str = "",
    ) -> Object:
        """Return `items`, and `metadata.resourceVersion` to watch from.

        Args:
            limit: at most so many; where there are more, `metadata.continue` is not empty.
            after: that value, for those that follow.
        """

    def create(self, kind: Kind, namespace: str, body: Object) -> Object:
        """Create an object and return it."""

    def patch(
        self, kind: Kind, namespace: str, name: str, change: Any, *, subresource: str = ""
    ) -> Object:
        """Change an object: by a merge patch (a mapping) or by JSON patch operations (a list)."""

    def delete(self, kind: Kind, namespace: str, name: str) -> None:
        """Delete an object and, in the background, what belongs to it."""

    def watch(
        self, kind: Kind, namespace: str, *, labels: str = "", since: str
    ) -> Iterator[tuple[str, Object]]:
        """Yield (ADDED, MODIFIED, DELETED or BOOKMARK, object) until the server ends it."""

    def log(
        self, namespace: str, pod: str, *, container: str, follow: bool = False, tail: int = 0
    ) -> Iterator[str]:
        """Yield the lines of a container's log."""


class KubernetesApi:
    """The cluster that a kubeconfig names, or the one this process runs in."""

    def __init__(self, context: str | None = None) -> None:
        """Read the configuration; no request is sent.

        Raises:
            ClusterError: there is none, or it has no such context.
        """
        from kubernetes import client, config

        configuration = client.Configuration()
        is_inside = "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ
        try:
            if is_inside and context is None:
                config.load_incluster_config(configuration)
            else:
                config.load_kube_config(context=context, client_configuration=configuration)
        except (config.ConfigException, OSError) as error:
            raise ClusterError(
                f"no cluster: {error}; set KUBECONFIG, or choose a context with --context"
            ) from error
        configuration.retries = 2
        # The client has just set it to WARNING: its retries become one error.
        logging.getLogger("urllib3").setLevel(logging.ERROR)
        self.host = configuration.host
        self._client = client.ApiClient(configuration)

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        return self._json("GET", kind.path(namespace, name))

    def list(
        self,
        kind: Kind,
        namespace: str,
        *,
        labels: str = "",
        fields: str = "",
        limit: int = 0,
        after: str = "",
    ) -> Object:
        query = {"labelSelector": labels} if labels else {}
        query |= {"fieldSelector": fields} if fields else {}
        query |= {"limit": str(limit)} if limit else {}
        query |= {"continue": after} if after else {}
        return self._json("GET", kind.path(namespace), query=query)

    def create(self, kind: Kind, namespace: str, body: Object) -> Object:
        return self._json("POST", kind.path(namespace), body=body)

    def patch(
        self, kind: Kind, namespace: str, name: str, change: Any, *, subresource: str = ""
    ) -> Object:
        form = "json-patch" if isinstance(change, list) else "merge-patch"
        path = kind.path(namespace, name, subresource)
        return self._json("PATCH", path, body=change, content=f"application/{form}+json")

    def delete(self, kind: Kind, namespace: str, name: str) -> None:
        self._json("DELETE", kind.path(namespace, name), body={"propagationPolicy": "Background"})

    def watch(
        self, kind: Kind, namespace: str, *, labels: str = "", since: str
    ) -> Iterator[tuple[str, Object]]:
        query = {"watch": "true", "resourceVersion": since, "allowWatchBookmarks": "true"}
        query |= {"timeoutSeconds": str(WATCH_SECONDS)}
        query |= {"labelSelector": labels} if labels else {}
        for line in self._lines(kind.path(namespace), query, WATCH_SECONDS + READ_TIMEOUT):
            event = json.loads(line)
            if event["type"] == "ERROR":
                status = event["object"]
                raise ClusterError(status.get("message", ""), status=status.get("code", 0))
            yield event["type"], event["object"]

    def log(
        self, namespace: str, pod: str, *, container: str, follow: bool = False, tail: int = 0
    ) -> Iterator[str]:
        query = {"container": container}
        query |= {"follow": "true"} if follow else {}
        query |= {"tailLines": str(tail)} if tail else {}
        timeout = None if follow else READ_TIMEOUT
        yield from self._lines(PODS.path(namespace, pod, "log"), query, timeout)

    def _json(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content: str = "application/json",
    ) -> Object:
        for pause in (*PAUSES, None):
            try:
                response = self._send(method, path, query or {}, body, content, READ_TIMEOUT)
                found: Object = json.loads(response.data)
                return found
            except ClusterError as error:
                if error.status not in TRANSIENT or pause is None:
                    raise
                time.sleep(pause)
        raise AssertionError("unreachable")

    def _lines(self, path: str, query: Mapping[str, str], timeout: float | None) -> Iterator[str]:
        import urllib3

        response = self._send("GET", path, query, None, "application/json", timeout)
        buffer = b""
        try:
            for chunk in response.stream(amt=None, decode_content=False):
                *lines, buffer = (buffer + chunk).split(b"\n")
                yield from (line.decode("utf-8", "replace") for line in lines)
        except urllib3.exceptions.HTTPError as error:
            raise ClusterError(f"{path}: the connection broke ({error})") from error
        finally:
            with contextlib.suppress(OSError, urllib3.exceptions.HTTPError):
                response.close()
        if buffer:
            yield buffer.decode("utf-8", "replace")

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Any,
        content: str,
        timeout: float | None,
    ) -> Any:
        import urllib3
        from kubernetes.client import ApiException

        try:
            return self._client.call_api(
                path,
                method,
                query_params=list(query.items()),
                header_params={"Accept": "application/json", "Content-Type": content},
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _return_http_data_only=True,
                _request_timeout=(CONNECT_TIMEOUT, timeout),
            )
        except ApiException as error:
            raise ClusterError(_message(error, method, path), status=error.status or 0) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            reason = getattr(error, "reason", error)
            raise ClusterError(f"{self.host}: cannot be reached ({reason})") from error


def _message(error: Any, method: str, path: str) -> str:
    """Return what the server said; a 401 says nothing that helps."""
    if error.status == 401:
        return "the cluster does not accept the credentials; they may have expired: log in again"
    try:
        said = json.loads(error.body)["message"]
    except (ValueError, KeyError, TypeError):
        said = str(error.reason)
    return f"{said} ({method} {path.rpartition('/')[2]}, {error.status})"
