"""The views of migration 0005 as it was released: a later change is a later migration, never an edit here."""

from stax_pipeline.warehouse.migrations.views_0005.agreements import AGREEMENT_VIEWS
from stax_pipeline.warehouse.migrations.views_0005.spending import SPENDING_VIEWS
from stax_pipeline.warehouse.migrations.views_0005.trust import TRUST_VIEWS
from stax_pipeline.warehouse.migrations.views_0005.view import View

__all__ = ["VIEWS", "View"]

VIEWS = (*TRUST_VIEWS, *SPENDING_VIEWS, *AGREEMENT_VIEWS)
