"""scikit-learn's handwritten digits (UCI optdigits, its test part): 1,797 real 8x8 grey images of ten classes."""

from functools import cache

import numpy as np
from datasets import ClassLabel, Dataset, Features, Image
from PIL import Image as PillowImage
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from surm_bench.errors import unknown

TEST_SIZE = 540
SEED = 0


@cache
def load(name: str = "digits") -> dict[str, Dataset]:
    """Return the splits ``train`` (1,257 images) and ``test`` (540), stratified and always identical.

    Columns: ``image`` (PIL, mode L, 8x8, bright ink on a background of 0) and ``label`` (ClassLabel 0-9).

    Raises:
        UserError: the name is not "digits".
    """
    if name != "digits":
        raise unknown("embedded image task", name, ["digits"])
    digits = load_digits()
    pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)
    train, test = train_test_split(
        np.arange(len(pixels)), test_size=TEST_SIZE, stratify=digits.target, random_state=SEED
    )
    return {"train": _dataset(pixels[train], digits.target[train]), "test": _dataset(pixels[test], digits.target[test])}


def _dataset(pixels: np.ndarray, labels: np.ndarray) -> Dataset:
    features = Features({"image": Image(mode="L"), "label": ClassLabel(names=[str(digit) for digit in range(10)])})
    columns = {"image": [PillowImage.fromarray(image) for image in pixels], "label": labels.tolist()}
    return Dataset.from_dict(columns, features=features)
