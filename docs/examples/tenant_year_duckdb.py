"""What one tenant's use cost in each month of a year, from the lake, by DuckDB.

python tenant_year_duckdb.py .stax/lake acme 2026
"""

import sys
from decimal import Decimal

import duckdb

TENANT = "select tenant_id from read_parquet($names) where slug = $slug"
MONTHS = """
select month(usage_date), sum(cost_usd)
from read_parquet($files, hive_partitioning = true)
where usage_date between make_date($year, 1, 1) and make_date($year, 12, 31)
  and bucket in (0, $bucket) and tenant_id = $tenant
group by 1 order by 1
"""


def months(lake: str, slug: str, year: int) -> list[tuple[int, Decimal]]:
    with duckdb.connect() as db:
        found = db.execute(TENANT, {"names": f"{lake}/tenants/part-0.parquet", "slug": slug}).fetchone()
        assert found, f"no tenant {slug}"
        asked = {"files": f"{lake}/spend/*/*/*.parquet", "year": year, "bucket": int(found[0][0], 16)}
        return db.execute(MONTHS, {**asked, "tenant": found[0]}).fetchall()


if __name__ == "__main__":
    for month, usd in months(sys.argv[1], sys.argv[2], int(sys.argv[3])):
        print(f"{month:2}  {usd:f}")
