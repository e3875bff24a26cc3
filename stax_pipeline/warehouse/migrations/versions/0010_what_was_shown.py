"""What was shown when: which extraction became current, and what spend was built from."""

import sqlalchemy as sa
from alembic import context, op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TABLES = ("publications", "spend_builds")
WHAT_STANDS = (
    """
    insert into stax.publications (tenant_id, report, usage_date, published_at, extraction_id)
    select c.tenant_id, c.report, c.usage_date, e.recorded_at, c.extraction_id
    from stax.coverage c join stax.extractions e using (extraction_id)
    """,
    """
    insert into stax.spend_builds (tenant_id, usage_date, built_at, price_book_version, priced_at, cost_extraction_id,
                                   usage_extraction_id)
    select distinct on (tenant_id, usage_date) tenant_id, usage_date, loaded_at, price_book_version, loaded_at,
           cost_extraction_id, usage_extraction_id
    from stax.spend order by tenant_id, usage_date, loaded_at desc
    """,
)


def upgrade() -> None:
    op.create_table(
        "spend_builds",
        sa.Column("tenant_id", sa.UUID(), nullable=False, comment="The tenant, by its random internal id"),
        sa.Column("usage_date", sa.Date(), nullable=False, comment="The UTC day the use happened on"),
        sa.Column("built_at", sa.DateTime(timezone=True), nullable=False, comment="When spend changed"),
        sa.Column(
            "price_book_version", sa.Text(), nullable=False, comment="Version of the prices, rates and commitments"
        ),
        sa.Column(
            "priced_at", sa.DateTime(timezone=True), nullable=False, comment="The instant whose records they are"
        ),
        sa.Column("cost_extraction_id", sa.UUID(), nullable=True, comment="Cost extraction it was built from"),
        sa.Column("usage_extraction_id", sa.UUID(), nullable=True, comment="Usage extraction it was built from"),
        sa.PrimaryKeyConstraint("tenant_id", "usage_date", "built_at", name=op.f("spend_builds_pkey")),
        schema="stax",
        comment="What spend of a day was built from, and when: what --as-of goes by; a build that changes neither adds no row",
    )
    op.create_table(
        "publications",
        sa.Column("tenant_id", sa.UUID(), nullable=False, comment="The tenant, by its random internal id"),
        sa.Column("report", sa.Text(), nullable=False, comment="cost_report or usage_report"),
        sa.Column("usage_date", sa.Date(), nullable=False, comment="The UTC day the use happened on"),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False, comment="When the tables changed"),
        sa.Column("extraction_id", sa.UUID(), nullable=False, comment="The extraction that is current since"),
        sa.ForeignKeyConstraint(
            ["extraction_id"], ["stax.extractions.extraction_id"], name=op.f("publications_extraction_id_fkey")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "report", "usage_date", "published_at", name=op.f("publications_pkey")),
        schema="stax",
        comment="When an extraction became the current one of a day: what replay goes through",
    )
    for read in ("coverage", "extractions", "spend"):
        op.execute(f"alter table stax.{read} no force row level security")
    for statement in WHAT_STANDS:
        op.execute(statement)
    for read in ("coverage", "extractions", "spend"):
        op.execute(f"alter table stax.{read} force row level security")
    loader, analyst = (_quoted(context.config.attributes[name]) for name in ("loader", "analyst"))
    for table in TABLES:
        op.execute(f"alter table stax.{table} enable row level security")
        op.execute(f"alter table stax.{table} force row level security")
        op.execute(f"grant select, insert, update, delete on stax.{table} to {loader}")
        op.execute(f"create policy loader on stax.{table} to {loader} using (true) with check (true)")
        op.execute(f"grant select on stax.{table} to {analyst}")
        if analyst != loader:
            op.execute(f"create policy analyst on stax.{table} for select to {analyst} using (true)")


def _quoted(role: str) -> str:
    return '"' + role.replace('"', '""') + '"'
