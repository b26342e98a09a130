"""Class definitions: the definition, how one version follows another, and the consequences for data.

A class is an aggregate like any other (``class_aggregate``). Its definition has a JSON Schema for the data of its
instances, relationships and a semantic version. Instances are decided under its compiled form, ``class_schema``. As
pure as all of the domain.
"""
