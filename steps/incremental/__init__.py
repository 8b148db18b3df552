"""What the steps of an incremental share: the copy onto a parent, its ledger, and what of it is read back."""
