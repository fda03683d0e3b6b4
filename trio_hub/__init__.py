"""
A hub for AI agents on Trio: durable channels, delivered at least once, done once.

Everything that a user may import stands in ``__init__.pyi`` beside this file, where type checkers
read it too; a name is imported when it is first asked for, so a client does not load the hub.
Modules below are documented where they are, but only these names are promised.
"""

import lazy_loader

from ._version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
