"""Every estimator that can be named trains; what cannot be learnt or is not known is refused in words."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trimtab.errors import ArtifactCorrupt, DataRefused, Refused
from trimtab.spec.training import Training
from trimtab.stages import train

_N = 90


def rows(problem: str = "classification", n: int = _N, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Features all above nought, as some estimators want them, and a target that the first one tells."""
    generator = np.random.default_rng(seed)
    matrix = np.round(generator.random((n, 3)) * 3)
    measured = matrix[:, 0] * 2 + 1 + generator.random(n)
    if problem == "regression":
        return matrix, measured
    return matrix, np.where(matrix[:, 0] > 1, "a", "b").astype(object)


def fit(problem: str = "classification", data: Any = None, **training: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return train.fit(Training.model_validate(training), problem, *(data or rows(problem)))  # type: ignore[arg-type]


@pytest.mark.parametrize("problem", ["classification", "regression"])
def test_every_estimator_offered_trains_answers_and_does_so_again(problem: Any) -> None:
    offered = train.names(problem)
    assert len(offered) > 30
    matrix, _ = rows(problem)
    for name in offered:
        parameters = {"radius": 9.0} if name.startswith("Radius") else {}
        found = fit(problem, estimator=name, parameters=parameters)
        answers = np.asarray(found.predict(matrix))
        assert answers.shape == (_N,), name
        again = fit(problem, estimator=name, parameters=parameters)
        assert np.asarray(again.predict(matrix)).tolist() == answers.tolist(), name
        if problem == "classification":
            assert set(answers) <= {"a", "b"}, name
            assert list(found.classes_) == ["a", "b"], name


@pytest.mark.parametrize("name", ["HistGradientBoosting", "RandomForest", "LogisticRegression", "GaussianNB"])
def test_what_is_told_apart_easily_is_told_apart(name: str) -> None:
    matrix, target = rows(n=300)
    suffix = "Classifier" if name in ("HistGradientBoosting", "RandomForest") else ""
    found = fit(data=(matrix, target), estimator=name + suffix)
    assert (found.predict(matrix) == target).mean() > 0.95


def test_seeds_make_the_same_model_and_others_another() -> None:
    generator = np.random.default_rng(0)
    data = generator.random((200, 5)), generator.choice(["a", "b"], 200).astype(object)

    def proba(seed: int) -> Any:
        found = fit(data=data, estimator="RandomForestClassifier", parameters={"n_estimators": 5}, seed=seed)
        return found.predict_proba(data[0]).tolist()

    assert proba(1) == proba(1)
    assert proba(1) != proba(2)
    assert fit(estimator="RandomForestClassifier", parameters={"random_state": 99}).random_state == 99


@pytest.mark.parametrize(
    ("training", "said"),
    [
        ({"estimator": "RandomForestClasifier"}, "did you mean RandomForestClassifier?"),
        ({"estimator": "randomforestclassifier"}, "did you mean RandomForestClassifier?"),
        (
            {"estimator": "RandomForestRegressor"},
            "is no scikit-learn estimator for classification; did you mean Random",
        ),
        ({"estimator": "StackingClassifier"}, "'StackingClassifier' is no scikit-learn estimator for classification"),
        ({"estimator": "np"}, "'np' is no scikit-learn estimator for classification"),
        ({"estimator": "__import__"}, "is no scikit-learn estimator"),
        ({"estimator": "train_test_split"}, "is no scikit-learn estimator"),
        ({"parameters": {"max_itr": 3}}, "training.parameters.max_itr: .* did you mean max_iter?"),
        ({"estimator": "GaussianNB", "parameters": {"zzz": 1}}, "no such parameter. Known: priors, var_smoothing"),
        ({"parameters": {"max_iter": "many"}}, "refused its parameters or the data: The 'max_iter' parameter"),
        ({"parameters": {"learning_rate": -1}}, "'learning_rate' parameter"),
        ({"estimator": "KNeighborsClassifier", "imbalance": "balanced"}, "neither class_weight nor sample weights"),
        ({"estimator": "MultinomialNB", "parameters": {"alpha": []}}, "MultinomialNB refused its parameters"),
    ],
)
def test_unknown_names_parameters_and_values_are_refused_with_the_nearest_right_one(
    training: dict[str, Any], said: str
) -> None:
    with pytest.raises(Refused, match=said):
        fit(**training)


def test_no_refusal_suggests_what_it_refused() -> None:
    for name in ("StackingClassifier", "OneVsRestClassifier", "LabelPropagation"):
        with pytest.raises(Refused) as refused:
            fit(estimator=name)
        assert f"did you mean {name}?" not in str(refused.value)


def test_targets_that_cannot_be_learnt_are_refused() -> None:
    matrix, _ = rows()
    with pytest.raises(DataRefused, match="every training row is of the class 'a'; a classifier needs two"):
        fit(data=(matrix, np.full(_N, "a", dtype=object)))
    for problem in ("classification", "regression"):
        with pytest.raises(DataRefused, match="no row to learn from"):
            fit(problem, (matrix[:0], rows(problem)[1][:0]))
    with pytest.raises(Refused, match=r"HistGradientBoostingRegressor refused its parameters or the data: .*NaN"):
        fit("regression", (matrix, np.full(_N, np.nan)))


def test_missing_numbers_train_only_what_takes_them() -> None:
    matrix, target = rows()
    matrix[::7, 1] = np.nan
    for name in ("HistGradientBoostingClassifier", "DecisionTreeClassifier", "RandomForestClassifier"):
        found = fit(data=(matrix, target), estimator=name)
        assert train.takes_missing(found)
        assert len(found.predict(matrix)) == _N
    for name in ("LogisticRegression", "KNeighborsClassifier", "SVC", "MLPClassifier", "GaussianNB"):
        assert not train.takes_missing(train.make(Training(estimator=name), "classification"))
        with pytest.raises(Refused, match=f"{name} refused .*NaN"):
            fit(data=(matrix, target), estimator=name)


@pytest.mark.parametrize("name", ["LogisticRegression", "GaussianNB", "GradientBoostingClassifier", None])
def test_balanced_finds_more_of_a_rare_class(name: str | None) -> None:
    generator = np.random.default_rng(4)
    rare = generator.random(2000) < 0.06
    matrix = generator.normal(0, 1, (2000, 2)) + np.where(rare, 1.2, 0)[:, None]
    data = matrix, np.where(rare, "rare", "usual").astype(object)
    found = {
        way: (fit(data=data, estimator=name, imbalance=way).predict(matrix[rare]) == "rare").mean()
        for way in ("none", "balanced")
    }
    assert found["balanced"] > found["none"] + 0.1


def test_balanced_is_refused_for_a_regression() -> None:
    with pytest.raises(Refused, match="a regression has none"):
        fit("regression", imbalance="balanced")


def test_the_default_keeps_its_settings_when_one_is_changed_and_a_named_one_starts_from_scikit_learns() -> None:
    assert fit(parameters={"max_iter": 5}).l2_regularization == 5.0
    assert fit().max_iter == 80
    named = fit(estimator="HistGradientBoostingClassifier", parameters={"max_iter": 5})
    assert named.l2_regularization == 0.0


def test_a_class_of_one_row_does_not_stop_training_on_many_rows() -> None:
    matrix, target = rows(n=10_050)
    target[17] = "only one"
    found = fit(data=(matrix, target), parameters={"max_iter": 2})
    assert list(found.classes_) == ["a", "b", "only one"]
    said = {"max_iter": 2, "early_stopping": True}
    with pytest.raises(Refused, match="only 1 member"):
        fit(data=(matrix, target), parameters=said)
    matrix, target = rows(n=10_050)
    assert fit(data=(matrix, target), parameters={"max_iter": 2}).early_stopping == "auto"


def test_what_was_saved_is_loaded_and_anything_else_is_not_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "model"
    matrix, _ = rows()
    found = fit(parameters={"max_iter": 2})
    digest = train.save(found, path)
    assert train.load(path, digest).predict(matrix).tolist() == found.predict(matrix).tolist()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArtifactCorrupt, match="not what the training step wrote"):
        train.load(path, digest)
    path.unlink()
    with pytest.raises(ArtifactCorrupt, match="cannot be read: No such file"):
        train.load(path, digest)
