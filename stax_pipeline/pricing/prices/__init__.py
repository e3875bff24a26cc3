"""The dated price book as data (CSV, USD), and the code that reads it.

Belongs here: what a unit costs on a day. Stays out: what a tenant used, what it was billed and how the two meet
(`derive`).
"""

from stax_pipeline.pricing.prices.book import ListPrice, Price, PriceBook, Usage
from stax_pipeline.pricing.prices.retirements import Retirement, retiring
from stax_pipeline.pricing.prices.shipped import genai_prices, shipped_prices

__all__ = ["ListPrice", "Price", "PriceBook", "Retirement", "Usage", "genai_prices", "retiring", "shipped_prices"]
