"""In-memory twins of the servers, held to the same contract: for fast tests, and to break in ways no server would.

May import the same modules as the stores.
"""
