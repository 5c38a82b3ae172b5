"""Everything that knows Katib: manifests, status, the cluster's API, the services behind it."""
