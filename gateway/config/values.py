"""The kinds of single values in a configuration (endpoints, tags, headers, durations …) and their rules, as annotated
types for pydantic. Which key has which kind is in `gateway.config`.
"""

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_core import ErrorDetails, PydanticCustomError

_RUNNER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TAG = re.compile(r"[^\s+/,?#%&\\\x00-\x1f\x7f]{1,64}")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2 token
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# These describe one connection or one body; set for every request they would break the framing.
_FRAMING_HEADERS = {"connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}


def value_fault(message: str) -> PydanticCustomError:
    """What a validator raises; `message` follows the key's path, and never holds the value."""
    return PydanticCustomError("configuration", "{message}", {"message": message})


def words_of(fault: ErrorDetails) -> str:
    """What pydantic found wrong with a value, in the words that every reader of values has; they follow its name."""
    match fault["type"]:
        case "missing":
            return "is required"
        case "string_type":
            return "must be a string"
        case "int_type" | "int_parsing" | "int_from_float":
            return "must be a whole number"
        case "float_type" | "float_parsing":
            return "must be a number"
        case "bool_type" | "bool_parsing":
            return "must be true or false"
        case "tuple_type" | "list_type":
            return "must be a list"
        case "dict_type" | "model_type" | "model_attributes_type":
            return "must be an object"
        case "too_long":
            return f"has more than {fault['ctx']['max_length']} items"
        case _:
            return fault["msg"].replace("Input should", "must", 1)


def _not_bool(value: object) -> object:
    if isinstance(value, bool):
        raise value_fault("must be a number")
    return value


def _endpoint(text: str) -> str:
    """An http(s) base URL with lower-case scheme and host and without a trailing slash."""
    if re.search(r"[\s\x00-\x1f\x7f\\]", text):
        raise value_fault("must not contain spaces, control characters or backslashes")
    if not text.isascii():
        raise value_fault("must be ASCII: write the host in punycode and percent-encode the path")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise value_fault("is not a valid URL") from None
    if parts.scheme not in ("http", "https"):
        raise value_fault("must start with http:// or https://")
    if not host:
        raise value_fault("must name a host, like http://10.0.0.11:8188")
    if port == 0:
        raise value_fault("port must be between 1 and 65535")
    if "@" in parts.netloc:
        raise value_fault("must not contain a user or a password; put credentials in the runner's headers")
    if "?" in text or "#" in text:
        raise value_fault("must not have a query or a fragment")
    if any(segment in (".", "..") for segment in parts.path.split("/")):
        raise value_fault("must not have '.' or '..' in its path")
    authority = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{authority}{'' if port is None else f':{port}'}{parts.path.rstrip('/')}"


def _runner_name(text: str) -> str:
    if not _RUNNER_NAME.fullmatch(text):
        raise value_fault("must be 1 to 64 letters, digits, '.', '_' or '-', starting with a letter or digit")
    return text


def _tag(text: str) -> str:
    if not _TAG.fullmatch(text) or text in (".", ".."):
        raise value_fault("must be 1 to 64 characters without spaces or any of + / , ? # % & \\")
    return text


def _header_name(text: str) -> str:
    if not _HEADER_NAME.fullmatch(text):
        raise value_fault("is not a valid header name")
    if text.lower() in _FRAMING_HEADERS:
        raise value_fault("is a header that the gateway sets itself for each request")
    return text


def _header_value(secret: SecretStr) -> SecretStr:
    if _CONTROL.search(secret.get_secret_value()):
        raise value_fault("must not contain line breaks or control characters")
    return secret


def _url_with_scheme(secret: SecretStr) -> SecretStr:
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", secret.get_secret_value()):
        raise value_fault("must be a URL, like scheme://…")
    return secret


def _user_path(path: Path) -> Path:
    return path.expanduser()


Int = Annotated[int, BeforeValidator(_not_bool)]
Number = Annotated[float, BeforeValidator(_not_bool), Field(allow_inf_nan=False)]
Seconds = Annotated[Number, Field(gt=0, le=86_400)]
Endpoint = Annotated[str, AfterValidator(_endpoint)]
RunnerName = Annotated[str, AfterValidator(_runner_name)]
Tag = Annotated[str, AfterValidator(_tag)]
HeaderName = Annotated[str, AfterValidator(_header_name)]
HeaderValue = Annotated[SecretStr, AfterValidator(_header_value)]
SecretUrl = Annotated[SecretStr, AfterValidator(_url_with_scheme)]
Folder = Annotated[Path, AfterValidator(_user_path)]
