"""What operators hand in as CSV or YAML: list prices, contract rates, commitments, invoices.

Belongs here: reading a file's content into values, every mistake told in one line by file, row, column and what was
expected. Stays out: opening files (`cli`), which tenants there are, and what is on record (`tenants`, `warehouse`).
"""
