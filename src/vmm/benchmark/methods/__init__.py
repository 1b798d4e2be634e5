"""The methods that are compared: one record each."""

from vmm.benchmark.methods.records import METHODS, Method, method_of

__all__ = ["METHODS", "Method", "method_of"]
