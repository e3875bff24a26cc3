"""The dated price book as data (CSV, USD), and the code that reads it.

Belongs here: what a unit costs on a day. Stays out: what a tenant used (`usage`), what it was billed (`cost`) and how
the two meet (`spend`).
"""

from stax_pipeline.domain.prices.book import ListPrice, Price, PriceBook, Usage
from stax_pipeline.domain.prices.retirements import Retirement, retiring
from stax_pipeline.domain.prices.shipped import genai_prices, shipped_prices

__all__ = ["ListPrice", "Price", "PriceBook", "Retirement", "Usage", "genai_prices", "retiring", "shipped_prices"]
