"""Products over HTTP: each request that writes is one command, each answer carries a consistency token.

Start it with ``uvicorn examples.service.app:app``.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError

from oncelog import (
    AggregateId,
    Command,
    CommandResult,
    CommandType,
    InputInvalid,
    NotYetVisible,
    Oncelog,
    Outcome,
    RejectionCode,
    StoreUnavailable,
)

DB_NAME, CLASS_ID = "shop", "Product"
TOKEN_HEADER = "Consistency-Token"  # noqa: S105 - a header's name, no secret
READ_DEADLINE_S = 5.0

#: The HTTP status of each rejection; a code that is not here is a mistake in the request.
STATUS_OF: dict[str, HTTPStatus] = {
    RejectionCode.INSTANCE_NOT_FOUND: HTTPStatus.NOT_FOUND,
    RejectionCode.INSTANCE_DELETED: HTTPStatus.GONE,
    RejectionCode.INSTANCE_EXISTS: HTTPStatus.CONFLICT,
    RejectionCode.VERSION_CONFLICT: HTTPStatus.CONFLICT,
    RejectionCode.COMMAND_ID_REUSED: HTTPStatus.CONFLICT,
}


class Product(BaseModel):
    name: str
    price: float | None = None


class ProductChange(BaseModel):
    """A JSON Merge Patch: a member that is absent stays, a null removes."""

    name: str | None = None
    price: float | None = None


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep one client for as long as the service runs."""
    async with Oncelog.connect() as client:
        app.state.oncelog = client
        yield


app = FastAPI(title="Products", lifespan=lifespan)


def _client(request: Request) -> Oncelog:
    client: Oncelog = request.app.state.oncelog
    return client


Client = Annotated[Oncelog, Depends(_client)]
#: The command ID. A caller that got no answer sends the request again with the same key: it takes effect once.
IdempotencyKey = Annotated[str, Header(alias="Idempotency-Key")]
Token = Annotated[str | None, Header(alias=TOKEN_HEADER)]


@app.put("/products/{product_id}", status_code=HTTPStatus.CREATED)
async def create_product(
    product_id: str, product: Product, key: IdempotencyKey, client: Client, response: Response
) -> dict[str, Any]:
    command = _command(CommandType.CREATE_INSTANCE, key, product_id, product.model_dump(exclude_none=True))
    return _answer(await client.submit(command, early=True), response)


@app.patch("/products/{product_id}")
async def change_product(
    product_id: str, change: ProductChange, key: IdempotencyKey, client: Client, response: Response
) -> dict[str, Any]:
    command = _command(CommandType.UPDATE_INSTANCE, key, product_id, change.model_dump(exclude_unset=True))
    return _answer(await client.submit(command, early=True), response)


@app.get("/products/{product_id}")
async def read_product(product_id: str, client: Client, token: Token = None) -> dict[str, Any]:
    """Return the product; with the token of a write, at that write or a later one."""
    aggregate_id = AggregateId.of(DB_NAME, CLASS_ID, product_id)
    document = await client.get(aggregate_id, token=token, deadline_s=READ_DEADLINE_S)
    if document is None or document.body["deleted"]:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"product {product_id}: it does not exist")
    return {"id": product_id, "version": document.sequence_number, **document.body["data"]}


@app.exception_handler(InputInvalid)
@app.exception_handler(ValidationError)
async def _refuse_input(_: Request, error: InputInvalid | ValidationError) -> JSONResponse:
    """Say what is wrong with a token, or with the fields of a command."""
    message = error.message if isinstance(error, InputInvalid) else str(error.errors()[0]["msg"])
    return JSONResponse({"code": InputInvalid.__name__, "message": message}, HTTPStatus.UNPROCESSABLE_ENTITY)


@app.exception_handler(NotYetVisible)
@app.exception_handler(StoreUnavailable)
async def _ask_to_retry(_: Request, error: NotYetVisible | StoreUnavailable) -> JSONResponse:
    """Say that the same request may be sent again; a write keeps its Idempotency-Key."""
    body = {"code": error.code, "message": error.message}
    return JSONResponse(body, HTTPStatus.SERVICE_UNAVAILABLE, headers={"Retry-After": "1"})


def _command(command_type: CommandType, key: str, product_id: str, payload: dict[str, Any]) -> Command:
    return Command(
        command_id=key,
        command_type=command_type,
        db_name=DB_NAME,
        class_id=CLASS_ID,
        instance_id=product_id,
        payload=payload,
    )


def _answer(result: CommandResult, response: Response) -> dict[str, Any]:
    """Return the body of an applied command, with its token as a header; raise a rejection as an HTTP error."""
    if result.outcome is Outcome.REJECTED and result.rejection:
        status = STATUS_OF.get(result.rejection.code, HTTPStatus.UNPROCESSABLE_ENTITY)
        raise HTTPException(status, result.rejection.model_dump(mode="json"))
    response.headers[TOKEN_HEADER] = result.consistency_token or ""
    return {"aggregate_id": result.aggregate_id, "version": result.sequence_number}
