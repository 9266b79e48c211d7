"""Lets MLflow's server import without NumPy and pandas, which it only names.

The server imports client modules that mention `pandas.DataFrame` or `numpy.ndarray` in annotations
and `isinstance` checks, and that is all: no module under mlflow.server or mlflow.store uses either.
The two are 100 MB of the image and 50 MB of every worker. Here their names stand for types that
have no instances, and whoever does more than name them gets Python's ModuleNotFoundError.

Active in the commands of this image only; any other Python process finds no NumPy and no pandas.
"""

import importlib.abc
import importlib.machinery
import sys
import types

# databricks is here for its name alone: MLflow asks whether it has a part `databricks.agents`.
NAMES = ("databricks", "numpy", "pandas")
# MLflow keeps numpy.dtype("bool") and the like in a table of its schema types, unused by the server.
INERT = ("numpy.dtype",)


class Named(type):
    """The type of a type that has a name and no instances."""

    def __call__(cls, *args, **kwargs):
        if f"{cls.__module__}.{cls.__qualname__}" in INERT:
            return super().__call__()
        raise missing(cls.__module__)

    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        raise missing(cls.__module__)


def missing(package: str) -> ModuleNotFoundError:
    return ModuleNotFoundError(
        f"No module named '{package}': this image leaves it out (omitted.txt)", name=package
    )


class Package(types.ModuleType):
    """A module in which every name is such a type."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        named = Named(name, (), {"__module__": self.__name__})
        setattr(self, name, named)
        return named


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, fullname, path, target=None):
        if fullname in NAMES:
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec):
        return Package(spec.name)

    def exec_module(self, module):
        pass


def install() -> None:
    # Last, so that the real ones win in an image that has them.
    sys.meta_path.append(Finder())
    # FastAPI looks for this part of pydantic to support models of version 1, and does without it.
    # MLflow has none; looking at them costs a sixth of the start.
    sys.modules["pydantic.v1"] = None
