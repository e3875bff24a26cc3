"""What one tenant's use cost in each month of a year, from the lake, by polars.

python tenant_year_polars.py .stax/lake acme 2026
"""

import sys
from datetime import date
from decimal import Decimal

import polars as pl


def months(lake: str, slug: str, year: int) -> list[tuple[int, Decimal]]:
    tenants = pl.scan_parquet(f"{lake}/tenants/part-0.parquet").filter(pl.col("slug") == slug)
    tenant = tenants.select("tenant_id").collect().item()
    spend = pl.scan_parquet(f"{lake}/spend/*/*/*.parquet", hive_partitioning=True).filter(
        pl.col("usage_date").is_between(date(year, 1, 1), date(year, 12, 31)),
        pl.col("bucket").is_in([0, int(tenant[0], 16)]),
        pl.col("tenant_id") == tenant,
    )
    sums = spend.group_by(pl.col("usage_date").dt.month().alias("month")).agg(pl.col("cost_usd").sum())
    return list(sums.sort("month").collect(engine="streaming").iter_rows())


if __name__ == "__main__":
    for month, usd in months(sys.argv[1], sys.argv[2], int(sys.argv[3])):
        print(f"{month:2}  {usd:f}")
