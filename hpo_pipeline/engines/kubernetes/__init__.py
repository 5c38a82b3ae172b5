"""Plain Kubernetes: objects, watches, jobs and pods. Nothing here knows Katib."""
