"""The archive: many events in one Parquet file, and the one reader of all streams, from the archive and the slots.

The slots stay the truth. All objects under ``archive/`` are derived from them, and are made again where they are lost.
"""
