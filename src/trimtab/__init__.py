"""trimtab keeps machine-learning models on course: one document for a model product's whole life."""

__version__ = "0.1.0"
