"""The program: `main` is what ``python -m trio_hub`` and the script ``trio-hub`` run."""

from .main import main as main
