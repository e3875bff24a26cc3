"""The rules: source rows to lines, lines to spend, spend to what people check and read. No network, no database.

Belongs here: normalising, the join, splitting by key, guards, reconciliation, restatements. Stays out: prices
(`pricing`), and when and for whom a rule runs (`pipeline`).
"""
