"""The audit: every file and row that is refused or flagged, with a reason."""
