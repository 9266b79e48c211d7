"""Lets the AI gateway split traffic between models without NumPy, for which it draws a number.

The one use of NumPy that the server makes itself; check-imports.py ends the build when MLflow
changes the class that is completed here.
"""

import random

# SHA-256 of the source that was read when this was written.
READ = "d8746c5fc680c76269b9b4dc09536abab24f07e6d2b40d667d38827d0f1b0ea0"


def install() -> None:
    from mlflow.gateway.providers import base

    class Weights(list):
        """As much of an array as the class uses: it divides it by the sum once."""

        def __truediv__(self, total):
            return [weight / total for weight in self]

    class Random:
        @staticmethod
        def choice(indices, p):
            return random.choices(indices, weights=p)[0]

    class Arithmetic:
        float32 = float
        random = Random
        sum = staticmethod(sum)
        arange = staticmethod(range)

        @staticmethod
        def array(values, dtype):
            return Weights(dtype(value) for value in values)

    base.np = Arithmetic
