"""Which names are those of credentials, whose values do not belong into an experiment file."""

from __future__ import annotations

import re

_SECRET = re.compile(r"(^|_)(TOKEN|KEY|KEY_ID|SECRET|PASSWORD|PASSWD|PASSPHRASE)$")


def is_secret(name: str) -> bool:
    """Return whether a variable or argument of this name holds a credential.

    `HF_TOKEN`, `hub_token` and `AWS_ACCESS_KEY_ID` do; `TOKENIZERS_PARALLELISM`, `pad_token_id`
    and `SSL_KEY_FILE` do not.
    """
    return bool(_SECRET.search(name.upper()))
