"""Sample scenes whose truth is known."""
