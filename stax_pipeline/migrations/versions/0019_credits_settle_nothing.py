"""A credit does not settle a day: the cost of its tokens may still come."""

from stax_pipeline.migrations.views import changed, publish
from stax_pipeline.migrations.views_0005 import trust

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_STATE = "open, provisional, complete, or not reported yet: over, and asked for in vain; NULL where the {} report was not read"
COMPLETENESS = changed(
    trust.COMPLETENESS,
    (
        "c.rows > 0 or",
        "exists (select 1 from stax.cost_lines l where l.tenant_id = d.tenant_id and l.usage_date = d.usage_date "
        "and l.amount_usd >= 0 offset 0) or",
    ),
    columns={f"{report}_state": _STATE.format(report) for report in ("cost", "usage")},
)


def upgrade() -> None:
    publish(COMPLETENESS)
