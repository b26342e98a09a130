"""Read models in SQL: in memory on SQLite, and on real servers whose projector is killed."""
