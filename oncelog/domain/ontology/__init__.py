"""What a class is: its definition, how one version follows another, and what that means for data.

A class is an aggregate like any other (``class_aggregate``). Its definition has a JSON Schema for the data of its
instances, relationships and a semantic version; ``class_schema`` is what instances are decided under. As pure as all of the
domain.
"""
