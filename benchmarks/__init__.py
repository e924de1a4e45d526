"""What an epoch costs, measured beside the same work written by hand."""
