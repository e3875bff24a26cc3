"""The web application: what a browser or a monitoring system asks for, on one port.

Belongs here: routes, middleware, pages, the relay to Dagster's UI and the processes behind it. Stays out: work on
tenants' data, which is a run's, and the command that starts the application (`cli.services`).
"""
