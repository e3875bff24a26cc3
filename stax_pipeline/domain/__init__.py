"""The ground floor, what every room speaks of: money, time, windows and reports, tenants, reasons, errors.

Stays out: prices (`pricing`), rules about rows (`derive`), the network, files, databases and Dagster. Nothing in this
package imports anything else of the product.
"""
