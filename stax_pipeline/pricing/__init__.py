"""What a token costs whom: list prices, contract rates, commitments, invoices, and the files they are imported from."""
