"""Makes digits.txt from scikit-learn's copy of the data set:

    pip install scikit-learn
    python examples/data/digits.py > examples/data/digits.txt
"""

from sklearn.datasets import load_digits

PIXEL = "0123456789abcdefg"

digits = load_digits()
for image, label in zip(digits.data, digits.target):
    print("".join(PIXEL[int(pixel)] for pixel in image), label)
