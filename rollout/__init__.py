"""Safe, ordered, reviewable updates of Kubernetes DaemonSets."""

__version__ = "0.1.0"
