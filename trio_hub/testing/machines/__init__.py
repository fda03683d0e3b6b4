"""
Hypothesis state machines for what you build: stores, channel adapters, agents.

Subclass one, say what is to be tested, and hand its ``TestCase`` to your test runner (each
module's docstring has an example). They need Hypothesis: ``pip install trio_hub[testing]``.
"""

from .adapter_machine import AdapterMachine as AdapterMachine
from .delivery_machine import DeliveryMachine as DeliveryMachine
from .store_machine import StoreMachine as StoreMachine
