"""The cases by name, filled by the modules beside this one."""

CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function
