"""People of the app: who they are, how they prove it, and what each role reaches.

Stays out: what a role sees of the warehouse, which the policies there decide (`warehouse.app_readers`).
"""
