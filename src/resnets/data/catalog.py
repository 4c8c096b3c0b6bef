"""The table of named data sets."""

from __future__ import annotations

from resnets.data.spec import DataSpec

_DIGITS = tuple("0123456789")

DATASETS: dict[str, DataSpec] = {
    "digits": DataSpec(
        test=0.2, flip=False, classes=_DIGITS,
        origin="scikit-learn, 1,797 grey images of 8x8 (UCI Optical Recognition of Handwritten Digits)",
    ),
    "mnist": DataSpec(flip=False, classes=_DIGITS, origin="LeCun et al. 1998, 60,000 + 10,000 grey images of 28x28"),
    "fashion_mnist": DataSpec(
        classes=("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
                 "Ankle boot"),
        origin="Xiao et al. 2017, 60,000 + 10,000 grey images of 28x28",
    ),
    "cifar10": DataSpec(
        classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        origin="Krizhevsky 2009, 50,000 + 10,000 colour images of 32x32",
    ),
    "cifar100": DataSpec(
        classes=(
            "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl",
            "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair",
            "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin",
            "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp",
            "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain",
            "mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck",
            "pine_tree", "plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road",
            "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider",
            "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone", "television", "tiger",
            "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman",
            "worm",
        ),
        origin="Krizhevsky 2009, 50,000 + 10,000 colour images of 32x32",
    ),
}  # fmt: skip
