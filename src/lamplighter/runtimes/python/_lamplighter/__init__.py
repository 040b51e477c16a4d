"""The Python runtime client, under a name that no function's own module has.

It answers as AWS's awslambdaric does, byte for byte (tests/contract/test_python_runtime.py compares the two), and costs
less: one send and one receive per warm invocation. Imported once, ahead of the fork, so every import is at the top of
its module and nothing that depends on the environment is computed before `main` runs.
"""
