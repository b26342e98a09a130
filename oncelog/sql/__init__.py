"""Read models in SQL databases, through SQLAlchemy (``pip install 'oncelog[sql]'``).

``SqlReadModel`` keeps tables of the application's own: rows of each aggregate's document, or changes of rows by events.
Rows and checkpoint change in one transaction, so that a counter is right after any crash.
"""

from oncelog.sql.changes import Add, Put, Remove
from oncelog.sql.models import SqlPositions
from oncelog.sql.read_model import SqlReadModel

__all__ = ["Add", "Put", "Remove", "SqlPositions", "SqlReadModel"]
