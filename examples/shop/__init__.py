"""A shop: customers with credit, payments, stock and shipments as aggregates of one's own (docs/own-domain.md)."""
