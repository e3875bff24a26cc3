"""What one tenant's use cost in each month of a year, from the lake, by pandas.

python tenant_year_pandas.py .stax/lake acme 2026
"""

import sys
from decimal import Decimal

import pandas as pd


def months(lake: str, slug: str, year: int) -> list[tuple[int, Decimal]]:
    tenants = pd.read_parquet(f"{lake}/tenants", dtype_backend="pyarrow")
    tenant = tenants.loc[tenants["slug"] == slug, "tenant_id"].item()
    spend = pd.read_parquet(
        f"{lake}/spend",
        columns=["usage_date", "cost_usd"],
        filters=[
            ("usage_date", ">=", f"{year}-01-01"), ("usage_date", "<=", f"{year}-12-31"),
            ("bucket", "in", [0, int(tenant[0], 16)]), ("tenant_id", "==", tenant),
        ],
        dtype_backend="pyarrow",
    )  # fmt: skip
    month = spend["usage_date"].astype("string").str.slice(5, 7).astype(int)
    sums = spend.groupby(month)["cost_usd"].sum(min_count=1)
    return list(sums.items())


if __name__ == "__main__":
    for month, usd in months(sys.argv[1], sys.argv[2], int(sys.argv[3])):
        print(f"{month:2}  {usd:f}")
