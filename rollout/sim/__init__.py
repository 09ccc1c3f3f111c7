"""The embedded cluster: the Kubernetes 1.36 API, its controllers and kubelets, in one process."""
