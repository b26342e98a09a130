"""A reaction for tests: each order makes a shipment, whose ID follows from its command's, so that two would show."""

from collections.abc import Iterator

from oncelog import Event, NewCommand, Reaction


def ship(event: Event) -> Iterator[NewCommand]:
    for number in range(event.data.get("parcels", 1)):
        payload = {"order": event.instance_id, "parcel": number}
        yield NewCommand(command_type="CREATE_INSTANCE", db_name="shop", class_id="Shipment", payload=payload)


shipments = Reaction("shipments", ship, classes=["shop/Product"], event_types=["INSTANCE_CREATED"])
