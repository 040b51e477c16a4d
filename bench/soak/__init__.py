"""The soak: a real service under everything that callers and functions do to it, until it is known what it keeps of it.

`python -m bench.soak` runs laps. Each lap deploys functions, calls them in every way (crashes, time-outs, floods, huge
payloads, callers who hang up) while they are changed, published, deleted and made again, then takes everything away and
looks: every call has had exactly one answer, what was accepted has run, and what the service holds is what it held
after the first lap.
"""
