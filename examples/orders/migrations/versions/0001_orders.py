"""Products, orders, and a ledger for each thing that must happen once.

Revision ID: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "products",
        sa.Column("sku", sa.String(200), primary_key=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("price_cents", sa.Integer, nullable=False),
        sa.Column("quantity", sa.Integer, nullable=False),
        sa.CheckConstraint("quantity >= 0", name="quantity_not_negative"),
    )
    op.create_table(
        "orders",
        sa.Column("id", sa.String(200), primary_key=True),
        sa.Column("email", sa.String(200), nullable=False),
        sa.Column("status", sa.String(200), nullable=False),
        sa.Column("stock", sa.String(200), nullable=False),
        sa.Column("total_cents", sa.Integer),
        sa.Column("currency", sa.String(200), nullable=False),
        sa.Column("tracking_number", sa.String(200)),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "order_lines",
        sa.Column("order_id", sa.String(200), sa.ForeignKey("orders.id"), primary_key=True),
        sa.Column("sku", sa.String(200), sa.ForeignKey("products.sku"), primary_key=True),
        sa.Column("quantity", sa.Integer, nullable=False),
        sa.Column("unit_price_cents", sa.Integer, nullable=False),
    )
    op.create_table(
        "stock_movements",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("sku", sa.String(200), sa.ForeignKey("products.sku"), nullable=False),
        sa.Column("order_id", sa.String(200), sa.ForeignKey("orders.id")),
        sa.Column("delta", sa.Integer, nullable=False),
        sa.Column("reason", sa.String(200), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("order_id", "sku", "reason"),
    )
    op.create_table(
        "payments",
        sa.Column("id", sa.String(200), primary_key=True),
        sa.Column("order_id", sa.String(200), sa.ForeignKey("orders.id"), nullable=False),
        sa.Column("kind", sa.String(200), nullable=False),
        sa.Column("amount_cents", sa.Integer, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("order_id", "kind"),
    )
    op.create_table(
        "notifications",
        sa.Column("message_id", sa.String(200), primary_key=True),
        sa.Column("order_id", sa.String(200), nullable=False),
        sa.Column("kind", sa.String(200), nullable=False),
        sa.Column("recipient", sa.String(200), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "warehouse_notices",
        sa.Column("order_id", sa.String(200), sa.ForeignKey("orders.id"), primary_key=True),
        sa.Column("kind", sa.String(200), primary_key=True),
        sa.Column("content", sa.String(20_000), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )


def downgrade() -> None:
    for table in (
        "warehouse_notices",
        "notifications",
        "payments",
        "stock_movements",
        "order_lines",
        "orders",
        "products",
    ):
        op.drop_table(table)
