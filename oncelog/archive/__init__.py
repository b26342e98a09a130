"""The archive: many events in one Parquet file, and the one reader of all streams, from the archive and the slots.

The slots stay the truth. Whatever lies under ``archive/`` is derived from them, and is made again where it is lost.
"""
