"""The edge: the only package that talks to an API server."""
