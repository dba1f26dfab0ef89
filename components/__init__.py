"""The KFP face of each stage: read, call one stage, write. All run in one runtime image, which holds trimtab."""

from trimtab import __version__

IMAGE = f"ghcr.io/trimtab/trimtab:{__version__}-python3.11"
