"""Takes the guards away one by one, and proves that a test misses each of them."""
