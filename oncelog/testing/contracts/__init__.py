"""Contract suites for an application's own read models: inherit one, and say how the read model is made.

::

    class TestMyStore(ReadModelContract):
        @pytest.fixture
        def read_model(self) -> ReadModel:
            return MyStore(...)

pytest collects the inherited tests; asynchronous ones need ``pytest-asyncio`` in mode ``auto``.
"""

from oncelog.testing.contracts.read_models import EventReadModelContract, ReadModelContract

__all__ = ["EventReadModelContract", "ReadModelContract"]
