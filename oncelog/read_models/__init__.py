"""From events to read models: the content of a document, and how writes of documents are batched.

May import ports and the domain, never a store.
"""
