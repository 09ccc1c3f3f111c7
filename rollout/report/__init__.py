"""What people and programs get to see: tables, graphs, event streams."""
