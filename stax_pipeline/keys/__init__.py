"""Admin keys at rest: sealed, opened for as long as requests run, kept out of other processes' sight.

Stays out: what an admin key is (`domain.admin_key`) and the rows they are stored in (`warehouse.tenants`).
"""
