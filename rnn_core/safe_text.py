"""Text made safe for those who read it: without passwords, control characters or markup.

`safe` is for every text that leaves the program: errors, log records, states, notes and tags.
`in_markdown` is for what Markdown shows; HTML templates escape their values themselves.
"""

import os
import re
import unicodedata
from base64 import b64encode
from collections.abc import Iterator, Mapping
from urllib.parse import quote, unquote

HIDDEN = "***"

# scheme://user:password@host; pathlib makes one slash of the two, and a password may have any sign
LOGIN = re.compile(
    r'(?<![\w+.-])([a-z][\w+.-]*:/{1,3})(?:([^\s/:@"<>`]*):([^\s"<>`]*)|([^\s/:@"<>`]+))@',
    re.IGNORECASE,
)
# token=… in the options of a URL, password=… in what PostgreSQL's library says
OPTION = re.compile(
    r"((?<![\w.-])[\w.-]*(?:password|passwd|passphrase|token|secret|credential|signature"
    r"|api_?key|access_?key|account_?key)[\w.-]*=)(?:'[^']*'|[^\s&;'\"<>`]+)",
    re.IGNORECASE,
)
HEADER = re.compile(r"(authorization\W{1,4}(?:basic|bearer)\s+)[\w.~+/=-]+", re.IGNORECASE)
SECRET_NAME = re.compile(
    r"(?:PASSWORD|PASSWD|PASSPHRASE|TOKEN|SECRET|KEY|AUTH|AUTH_STRING|CONNECTION_STRING)$",
    re.IGNORECASE,
)
SHORTEST = 6  # characters of a secret that is looked for by itself; any is hidden in a URL
# Passwords that are words of many texts: they are hidden in URLs alone
COMMON_WORDS = {"changeme", "mlflow", "password", "postgres", "prefect", "rnnflow", "secret"}
UNPRINTABLE = ("Cc", "Cf", "Cs", "Zl", "Zp")  # Unicode's categories

ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "://": ":&#47;&#47;", "www.": "www&#46;"}
MARKUP = re.compile(r"[\\`*_\[\]|~]|^[#+-]|[&<>]|://|www\.")


def safe(text: str) -> str:
    r"""Return the text as anybody may read it.

    Passwords of URLs are hidden, and so are the passwords, keys and tokens in the environment.
    Control characters, with which a name could rewrite a terminal, are written as escapes.

    >>> safe("MLflow at http://me:sesame@host:5000 cannot be used")
    'MLflow at http://me:***@host:5000 cannot be used'
    >>> safe("column '\x1b[2J'")
    "column '\\x1b[2J'"
    """
    return _printable(_without_secrets(text, os.environ))


def without_login(address: str) -> str:
    """Return a URL without user, password and options, as a link may have it.

    >>> without_login("https://me:sesame@host:5000/ui?token=abc")
    'https://host:5000/ui'
    """
    return LOGIN.sub(r"\1", address).partition("?")[0]


def in_markdown(text: str) -> str:
    r"""Return the text in one line, so that Markdown shows it as it is, in a table too.

    >>> print(in_markdown("![x](http://host/a_b) | <b>"))
    !\[x\](http:&#47;&#47;host/a\_b) \| &lt;b&gt;
    """
    one_line = " ".join(safe(text).split())
    return MARKUP.sub(lambda match: ENTITIES.get(match[0], f"\\{match[0]}"), one_line)


def _without_secrets(text: str, environment: Mapping[str, str]) -> str:
    text = LOGIN.sub(_hide_login, text)
    text = OPTION.sub(rf"\1{HIDDEN}", text)
    text = HEADER.sub(rf"\1{HIDDEN}", text)
    for secret in _secrets(environment):
        if secret in text:
            # Not in the middle of a word: a hash that contains the digits stays what it is
            text = re.sub(rf"(?<![^\W_]){re.escape(secret)}(?![^\W_])", HIDDEN, text)
    return text


def _hide_login(match: re.Match[str]) -> str:
    """Return the start of a URL without its password; a user without one may be a token."""
    scheme, user, password, alone = match.groups()
    if password is not None:
        return f"{scheme}{user}:{HIDDEN}@"
    is_web = scheme.lower().startswith("http")
    return f"{scheme}{HIDDEN if is_web else alone}@"


def _secrets(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield the secrets of the environment, each in its spellings."""
    for name, value in environment.items():
        if SECRET_NAME.search(name):
            yield from _spellings(value)
        elif match := LOGIN.match(value):
            _, user, password, alone = match.groups()
            yield from _spellings(alone or f"{user}:{password}")


def _spellings(value: str) -> Iterator[str]:
    """Yield a secret, or that of `user:password`, as it is and as URLs and headers have it."""
    password = value.partition(":")[2] or value
    plain = unquote(password)
    encoded = b64encode(unquote(value).encode()).decode()
    for spelling in dict.fromkeys((encoded, value, password, plain, quote(plain, safe=""))):
        if len(spelling) >= SHORTEST and spelling.lower() not in COMMON_WORDS:
            yield spelling


def _printable(text: str) -> str:
    """Write control characters, and those that change the direction of a text, as escapes."""
    if text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in UNPRINTABLE and character not in "\n\t"
        else character
        for character in text
    )
