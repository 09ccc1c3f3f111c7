"""What outlasts a process: the run record, its history, and the plan kept in the cluster."""
