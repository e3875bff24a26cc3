"""Pure functions over the source's pages and the warehouse's rows.

Belongs here: parsing, normalising, pricing, joining, time. Stays out: the network, files, databases and Dagster
(`resources` and `assets`). Nothing in this package imports anything else of the product.
"""
