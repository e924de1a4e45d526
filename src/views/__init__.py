"""Tables, cards and reports of records."""
