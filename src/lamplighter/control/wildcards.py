"""IAM's two wildcards: * is any text, ? one character."""

import re


def expression(text: str) -> str:
    """For `re`, with DOTALL. What lies between two * is looked for once, where it comes first: a pattern takes no
    longer than its length times that of the text, whoever wrote it."""
    first, *rest = map(_literal, re.split(r"\*+", text))
    if not rest:
        return first
    return f"{first}{''.join(f'(?>.*?{part})' for part in rest[:-1])}.*{rest[-1]}"


def _literal(text: str) -> str:
    return re.escape(text).replace(r"\?", ".")
