"""What the cluster is, as plain data: objects, eligibility, revisions, and the snapshot of them."""
