"""What runs inside a managed Python runtime. The directory appears read-only at /var/runtime in a sandbox.

Standard library only, CPython 3.9 and later. It imports nothing of the service, and the service nothing of it.
"""
