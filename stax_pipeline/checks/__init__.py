"""What must hold between tables, with the raw pages and with the Parquet copies. Queries whose rows are violations."""
