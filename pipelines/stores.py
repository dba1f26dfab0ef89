"""Who may read and write: the environment of every task, out of one secret that need not be there."""

from kfp import dsl, kubernetes

SECRET = "trimtab-stores"  # noqa: S105 - its name; in the namespace of the runs
KEYS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "SOURCE_URL",  # of a database with the rows: data.source.urlEnv names it
)


def with_stores(*tasks: dsl.PipelineTask) -> None:
    """Give each task the secret's keys; a key, or the secret, that is not there is no environment."""
    for task in tasks:
        kubernetes.use_secret_as_env(task, SECRET, {key: key for key in KEYS}, optional=True)
