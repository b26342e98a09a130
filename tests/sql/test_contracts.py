"""The suites that users inherit, on our own read models in SQL and on the documents."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from oncelog import EventReadModel, ReadModel
from oncelog.ports import EventLog
from oncelog.read_models.documents_model import DocumentsModel
from oncelog.sql.models import SqlEventModel, SqlStateModel
from oncelog.testing import MemoryServers
from oncelog.testing.contracts import EventReadModelContract, ReadModelContract
from tests.sql.test_sql_read_model import rows_of
from tests.sql.views import counters, events_per_month, product_table


@pytest.fixture
def servers() -> MemoryServers:
    return MemoryServers()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'views.sqlite'}"


class TestDocuments(ReadModelContract):
    @pytest.fixture
    def read_model(self, servers: MemoryServers) -> ReadModel:
        return DocumentsModel(servers.documents)


class TestSqlStates(ReadModelContract):
    @pytest.fixture
    async def read_model(self, url: str) -> AsyncIterator[ReadModel]:
        model = SqlStateModel(product_table(url))
        await model.prepare()
        yield model
        await model.close()


class TestSqlEvents(EventReadModelContract):
    @pytest.fixture
    def event_log(self, servers: MemoryServers) -> EventLog:
        return servers.ports().event_log

    @pytest.fixture
    async def read_model(self, servers: MemoryServers, url: str) -> AsyncIterator[EventReadModel]:
        self.url = url
        model = SqlEventModel(counters(url), servers.ports())
        await model.prepare()
        yield model
        await model.close()

    async def applied_events(self, read_model: EventReadModel) -> int:
        assert read_model.name == "counters"
        return sum(row[2] for row in rows_of(self.url, events_per_month))
