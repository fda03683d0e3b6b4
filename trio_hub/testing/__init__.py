"""
Kits for testing what you build on trio_hub.

`FaultyStore` makes any store fail on purpose. The contract suite for stores of your own needs
pytest and is imported by its full name: ``from trio_hub.testing.store_contract import
StoreContract``.
"""

from .faulty_store import FaultyStore as FaultyStore
