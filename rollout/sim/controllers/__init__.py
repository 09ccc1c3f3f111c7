"""The controllers of the embedded cluster: each learns from the store and acts via the registry."""
