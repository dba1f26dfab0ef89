"""The ModelLoop document (loop.yaml)."""

from trimtab.spec.document import API_VERSION, KIND, LoopSpec, Metadata, ModelLoop

__all__ = ["API_VERSION", "KIND", "LoopSpec", "Metadata", "ModelLoop"]
