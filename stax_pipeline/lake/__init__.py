"""The lake: raw pages as received, and Parquet made from Postgres. Objects appear whole or not at all."""
