"""What keeps the lake's Parquet copies in step with the tables."""

from __future__ import annotations

import sqlalchemy as sa

from stax_pipeline.warehouse.columns import count, day, identity, table, text

parquet_due = table(
    "parquet_due",
    "Parquet files that are older than their rows, noted in the transaction that changed the rows; emptied as they are "
    "written anew",
    identity("mark_id", "Random id", key=True, server_default=sa.func.gen_random_uuid()),
    text("table_name", "The table"),
    day("usage_date", "The UTC day"),
    count("bucket", "Which sixteenth of the tenants, 0 to 15: the first hexadecimal digit of tenant_id"),
)


parquet_layout = table(
    "parquet_layout",
    "How many Parquet files hold a day of a table: one without a row here, sixteen since there were 50 tenants",
    text("table_name", "The table", key=True),
    count("buckets", "Buckets of tenants, a file each"),
)
