"""Export scikit-learn classifiers and a regressor by skl2onnx:  python export_sklearn.py FOLDER

Needs scikit-learn, skl2onnx and numpy.
"""

import pathlib
import sys

import numpy as np
from skl2onnx import to_onnx
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, 4)).astype(np.float32)
    three, two = rng.integers(0, 3, 60), rng.integers(0, 2, 60)
    models = {
        "mlp3": (MLPClassifier((6,), max_iter=5, random_state=1).fit(x, three), {}),
        "mlp3nozipmap": (MLPClassifier((6,), max_iter=5, random_state=1).fit(x, three), {"zipmap": False}),
        "mlp2": (MLPClassifier((6,), max_iter=5, random_state=1).fit(x, two), {"zipmap": False}),
        "scaled": (make_pipeline(StandardScaler(), MLPClassifier((6,), activation="tanh", max_iter=5, random_state=1)).fit(x, three), {"zipmap": False}),
        "regressor": (MLPRegressor(hidden_layer_sizes=(6,), max_iter=5, random_state=1).fit(x, three.astype(np.float32)), None),
        "logistic": (LogisticRegression().fit(x, three), {"zipmap": False}),
        "logistic2": (LogisticRegression().fit(x, two), {"zipmap": False}),
        "letters": (make_pipeline(Normalizer(), StandardScaler(), LogisticRegression()).fit(x, np.array(["a", "b", "c"])[three]), {}),
        "linear": (LinearRegression().fit(x, np.stack([three, two], 1).astype(np.float32)), None),
    }
    for name, (model, options) in models.items():
        m = to_onnx(model, x[:1], options={id(model): options} if options is not None and name not in ("scaled", "letters") else None, target_opset=17)
        (folder / f"{name}.onnx").write_bytes(m.SerializeToString())


if __name__ == "__main__":
    main()
