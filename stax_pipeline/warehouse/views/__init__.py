"""What people read: views with the reader's own rights, in which '' of the tables is NULL.

Until the first release they are part of the one migration; from then on a changed view is a migration of its own.
"""

from stax_pipeline.warehouse.views.commitments import COMMITMENT_VIEWS
from stax_pipeline.warehouse.views.completeness import COMPLETENESS_VIEWS
from stax_pipeline.warehouse.views.focus import FOCUS_COST_AND_USAGE
from stax_pipeline.warehouse.views.invoices import INVOICE_VIEWS
from stax_pipeline.warehouse.views.spending import SPENDING_VIEWS
from stax_pipeline.warehouse.views.trust import TRUST_VIEWS
from stax_pipeline.warehouse.views.view import View

__all__ = ["VIEWS", "View"]

VIEWS = (
    *SPENDING_VIEWS,
    *TRUST_VIEWS,
    *COMPLETENESS_VIEWS,
    *INVOICE_VIEWS,
    *COMMITMENT_VIEWS,
    FOCUS_COST_AND_USAGE,
)
