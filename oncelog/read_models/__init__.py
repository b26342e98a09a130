"""From events to read models: what a document holds, and how writes of documents are gathered.

May import ports and the domain, never a store.
"""
