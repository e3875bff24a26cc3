"""The rules: source rows to lines, lines to spend, spend to what people check and read. No network, no database.

Belongs here: normalising, and in `sql` a file per rule over a batch of tenants, run by `engine`: the join, splitting by
key, guards, reconciliation, restatements; what few rows need is Python. Stays out: prices (`pricing`), and when and for
whom a rule runs (`pipeline`).
"""
