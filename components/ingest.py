"""Collect the rows that were known at one time."""

from kfp import dsl

from trimtab.components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def ingest(loop: str, as_of: str, predictions: str, labels: str, rows: dsl.Output[dsl.Dataset]) -> None:
    """Read the source, and served rows whose label came back, as known at `as_of` (ISO 8601; empty: now)."""
    from trimtab.components.reading import document, feedback, moment
    from trimtab.stages.identity import named_columns
    from trimtab.stages.ingest import read

    found, at = document(loop), moment(as_of)
    served, named = feedback(found, predictions, labels, at), named_columns(found.spec)
    window = found.spec.training.window
    frame = read(found.spec.data, found.folder, as_of=at, window=window, feedback=served, named=named)
    frame.to_parquet(rows.path, index=False)
    rows.metadata["rows"] = len(frame)
    print(f"{len(frame)} rows from {frame['_time'].min()} to {frame['_time'].max()}, as known at {at.isoformat()}")
