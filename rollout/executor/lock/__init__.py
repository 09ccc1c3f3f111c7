"""One run at a time: leases for the DaemonSets of a run (S5)."""
