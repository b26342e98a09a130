"""Code of an application: a shop that raises prices."""

from decimal import Decimal

from oncelog import Command, CommandResult, CommandType, Oncelog


async def raise_price(oncelog: Oncelog, product_id: str, percent: int, *, command_id: str) -> CommandResult:
    """Raise a product's price, unless another command changed it since it was read; raises LookupError."""
    document = await oncelog.get(f"shop/Product/{product_id}")
    if document is None:
        raise LookupError(f"product {product_id}: expected it in the shop, found none")
    price = Decimal(document.body["data"]["price"]) * (100 + percent) / 100
    command = Command(
        command_id=command_id,
        command_type=CommandType.UPDATE_INSTANCE,
        db_name="shop",
        class_id="Product",
        instance_id=product_id,
        payload={"price": f"{price:.2f}"},
        expected_version=document.sequence_number,
    )
    return await oncelog.submit(command)
