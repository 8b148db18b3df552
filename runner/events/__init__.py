"""What happens during a run, as values; the journal of them, and their fold into a summary."""
