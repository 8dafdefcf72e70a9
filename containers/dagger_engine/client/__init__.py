"""A client of an engine's GraphQL interface, with the part of it that patchyard uses.

The SDK of Dagger has all of it, and takes a second or more to import: its classes are generated from the whole
schema, with checks of types, and it queries that schema when it connects.
"""
