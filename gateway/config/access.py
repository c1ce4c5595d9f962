"""The section `access` of the YAML: who may use the gateway."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr

from gateway.config.section import Section
from gateway.config.values import Int, Number, value_fault

KEY_CHARACTERS = 32
TOKEN = re.compile(r"cgw_[A-Za-z0-9_-]{32,256}")  # the form of every token


def _token(secret: SecretStr) -> SecretStr:
    if not TOKEN.fullmatch(secret.get_secret_value()):
        raise value_fault("must be cgw_ and 32 to 256 letters, digits, '_' or '-', such as cgw_$(openssl rand -hex 32)")
    return secret


def _key(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value()) < KEY_CHARACTERS:
        raise value_fault(f"must have at least {KEY_CHARACTERS} random characters, such as $(openssl rand -hex 32)")
    return secret


KeyText = Annotated[SecretStr, AfterValidator(_key)]
TokenText = Annotated[SecretStr, AfterValidator(_token)]


class AccessConfig(Section):
    """Who may use the gateway: everyone who reaches it (`anonymous`), or who has a token (`tokens`). `allow_anonymous`
    permits listening beyond loopback without tokens. `admin_token` is one that needs no database; `login_hours` is how
    long a browser stays logged in, `login_attempts_per_minute` how often an address may try; a rotated token lives for
    `rotation_grace_hours` more; the audit trail goes back `audit_days`; with `open_metrics`, `/gateway/metrics` and
    the reasons of `/gateway/ready` need no token. `secrets_key` seals what the database keeps of secrets and signs
    URLs; without it a key file is made in `data_dir`.
    """

    mode: Literal["anonymous", "tokens"] = "anonymous"
    allow_anonymous: bool = False
    admin_token: TokenText | None = None
    login_hours: Annotated[Number, Field(gt=0, le=8_760)] = 168.0
    login_attempts_per_minute: Annotated[Int, Field(ge=1, le=10_000)] = 10
    rotation_grace_hours: Annotated[Number, Field(ge=0, le=8_760)] = 24.0
    audit_days: Annotated[Number, Field(gt=0, le=36_500)] = 365.0
    open_metrics: bool = False
    secrets_key: KeyText | None = None

    @property
    def configured_secret(self) -> str | None:
        """The text of `admin_token`."""
        return None if self.admin_token is None else self.admin_token.get_secret_value()

    @property
    def wants_tokens(self) -> bool:
        """Whether a caller needs a token."""
        return self.mode == "tokens"
