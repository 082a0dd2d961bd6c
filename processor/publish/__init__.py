"""What a run publishes: artifacts, the Item, and where both are made known."""
