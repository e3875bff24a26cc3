"""What the assets do, without Dagster: extract, normalise, build spend. Each step works tenant by tenant.

Belongs here: the order of things between the source, the lake and the warehouse, and the rule that one tenant's fault
stays that tenant's. Stays out: rules about rows (`derive`) and anything Dagster (`assets`).
"""
