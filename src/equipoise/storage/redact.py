"""Prompts without what tells people apart or opens doors, for logs.

Finds e-mail addresses, phone, card, account and identity numbers, network addresses, keys and tokens, and long runs
of digits. It errs on the side of removing: a long number in a sum goes too. Names and street addresses stay, so
what is left is not anonymous. Every pattern takes time in proportion to the text, whatever the text is.

Patterns begin with a plain character, and look back from there: that is what the engine searches fast.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address
from operator import itemgetter
from string import ascii_letters

_KEY_BLOCK = re.compile(
    r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----(?:[^-]|-(?!----)){0,16384}+"
    r"(?:-----END [A-Z ]{0,30}KEY(?: BLOCK)?-----)?"
)
_PASSWORDS = (
    "password", "passphrase", "passwd", "pwd", "passwort", "kennwort", "mot de passe", "contraseña", "senha",
    "wachtwoord", "hasło", "пароль", "密码", "密碼", "パスワード",
)  # fmt: skip
_NAMES = (*_PASSWORDS, "key", "secret", "token", "authorization", "sessid", "sessionid", "session_id")
_KINDS_OF_KEY = [
    f"(?<={kind}{joint}key)" for kind in ("api", "access", "private", "secret", "account") for joint in ("", "[ _-]")
]
_IS = r"(?:\s{1,3}(?:is|was|ist|lautet|est|es|é|è|jest)(?!\w)|\s{0,3}[是は])"
# What stands before a value, in small letters. Each name is searched for itself: a plain text is found the fastest.
_NAMED = {
    name: re.compile(
        name + (f"(?:{'|'.join(_KINDS_OF_KEY)})" if name == "key" else "") + r"[\\\"'*_`]{0,3}"
        rf"(?:{_IS}?\s{{0,3}}(?P<sign>:=|[=-]>|[:=：>])|{_IS}{'|(?=[ ])' if name in _PASSWORDS else ''})"
    )
    for name in _NAMES
}  # fmt: skip
# A value in quotes ends with them, as one in tags does; in JSON that stands in a text, a backslash goes before each.
_VALUE = re.compile(
    r"(?i)(\s{0,3}[*_`]{0,3}\s{0,3}(?:\\?[\"'])?(?:(?:bearer|basic|token)\s{1,3})?)"
    r"(?:(?<=\")[^\"\n\\]{6,200}+(?=\\?\")|(?<=')[^'\n\\]{6,200}+(?=\\?')|(?<=>)[^<\n]{6,200}+(?=</)|[^\s\"',;]{6,}+)"
)
# Without a sign before it, it is one only if no word is: `the password is required`.
_SAID = re.compile(r"(\s{0,3}[\\\"'*_`]{0,3})(?=[^\s\"',;`]{0,40}[0-9])[^\s\"',;`]{6,}+")
_COOKIES = re.compile(r"(?i)(cookie\\?[\"']?\s{0,3}[:=]\s{0,3}(?:\\?[\"'])?)(?=[\w.%-]{1,64}+=)[^\n\"'\\]++")
_BEARER = re.compile(r"(?i)(?<![a-z])(bearer\s{1,3})[\w.~+/=-]{8,}+")
_LONG_WORD = re.compile(r"\S{15,}+")
_JWT = re.compile(r"(?<![\w-])eyJ[\w-]{8,}+\.[\w-]{4,}+(?:\.[\w-]*+)?")
_PREFIXED = re.compile(
    r"(?<![\w-])(?:(?:sk|pk|rk|eq|pat|key|hf|gsk|xai|npm|glpat|pypi|gh[pousr]|github_pat|xox[abeoprs])[-_][\w-]{12,}+"
    r"|AKIA[A-Z0-9]{12,}+|ASIA[A-Z0-9]{12,}+|AIza[\w-]{20,}+|ya29\.[\w-]{10,}+)"
)
_TOKEN = re.compile(r"(?<![\w+=-])[\w+=-]{24,}+")
_SECRET = re.compile(r"(?<![\w/+=])[\w/+]{40}(?![\w/+=])")
_IN_URL = re.compile(r"//(?<=://)[^\s/@:]{0,100}+:[^\s/@]{1,200}+@")
_EMAIL = re.compile(r"(?<![\w.%+'-])[\w.%+'-]++@[\w-]++(?:\.[\w-]++)++")
_IBAN = re.compile(r"[A-Za-z](?<!\w[A-Za-z])[A-Za-z]\d{2}(?:[ -]?[A-Za-z0-9]{4}){2,7}(?:[ -]?[A-Za-z0-9]{1,3})?(?!\w)")
_COLONS = re.compile(r":[0-9a-fA-F]{0,4}:")
_IP6 = re.compile(r"(?<![\w:])(?:[0-9a-fA-F]{0,4}:){2,7}(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-fA-F]{0,4})(?![\w:])")
_IP4 = re.compile(r"\d(?<![\w.]\d)\d{0,2}+(?:\.\d{1,3}+){3}(?!\w|\.\d)")
_PHONES = (
    re.compile(r"\d(?<![\w+]\d)\d\d[ .-]\d{3}[ .-]\d{4}(?!\d)"),
    re.compile(r"\+(?<![\w+]\+)\d{1,3}[ ./-]{0,2}(?:\(\d{1,5}\)[ ./-]{0,2})?\d(?:[ ./-]{0,2}\d){5,12}(?!\d)"),
    re.compile(r"\((?<![\w+]\()\d{2,5}\)[ ./-]{0,2}\d(?:[ ./-]?\d){5,9}(?!\d)"),
    re.compile(r"0(?<![\w+]0)0?[1-9]\d{1,4}(?:[ -]| ?/ ?)\d{2,12}+(?:[ /-]?\d{2,12}+){0,4}(?!\d)"),
    re.compile(r"0(?<![\w+.]0)[1-9](?:(?:[ .-]\d\d){4}|[ -]\d{4}[ -]\d{4})(?![.]?\d)"),
)
_CARD = re.compile(r"\d(?<![\d.]\d)(?:[ -]?\d){12,18}(?!\d)")
_SOCIAL_SECURITY = re.compile(r"\d(?<![\w-]\d)\d\d-\d\d-\d{4}(?![\w-])")
# Identity numbers that look like nothing else, of Brazil and France; of Britain, Italy and India.
_OF_DIGITS = re.compile(
    r"\d(?<![\w.,-]\d)(?<!\d \d)(?:\d\d\.\d{3}\.\d{3}-\d\d"
    r"|(?<=[12]) \d\d \d\d \d[\dAB] \d{3} \d{3}(?: \d\d)?)(?!\w|[ .,-]\d)"
)
_OF_LETTERS = re.compile(
    r"[A-Z](?<!\w[A-Z])(?:[A-Z] ?\d\d ?\d\d ?\d\d ?[A-D]"
    r"|[A-Z]{5}\d\d[A-Z]\d\d[A-Z]\d{3}[A-Z]|[A-Z]{2}[ABCFGHJLPT][A-Z]\d{4}[A-Z])(?!\w)"
)
# Those whose checksum tells them: of India, Spain and Sweden.
_IN_FOURS = re.compile(r"[2-9](?<![\w.,-].)(?<!\d .)\d{3} \d{4} \d{4}(?!\w|[ .,-]\d)")
_WITH_LETTER = re.compile(r"[\dXYZ](?<![\w-].)\d{7}-?[A-Z](?!\w)")
_WITH_SIGN = re.compile(r"\d(?<![\w-]\d)(?:\d\d)?\d{5}[-+]\d{4}(?![\w-])")
_DIGITS = re.compile(r"\d(?<!\d\d)\d{8,}+")
_TURNED = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)
_LETTERS, _FOREIGNERS = "TRWAGMYFPDXBNJZSQVHLCKE", str.maketrans("XYZ", "012")
_DIGIT = re.compile(r"\d")
_BASE_36 = {ord(letter): str(int(letter, 36)) for letter in ascii_letters}


def redact(text: str) -> str:
    """The text with ``[email]``, ``[phone]``, ``[card]``, ``[iban]``, ``[ip]``, ``[key]`` or ``[number]`` instead."""
    if "-----BEGIN" in text:
        text = _KEY_BLOCK.sub("[key]", text)
    text = _LONG_WORD.sub(_vendor_keys, text)
    text = _without_named(text)
    if "@" in text:
        text = _IN_URL.sub("//[key]@", text)
        text = _EMAIL.sub("[email]", text)
    return _without_numbers(text)


def _without_named(text: str) -> str:
    """The text without values that stand behind names of secrets."""
    small = text.replace("İ", "i").lower()  # as long as the text, so that places in one are places in the other
    named = [
        (*found.span(), _VALUE if found["sign"] else _SAID)
        for name, before in _NAMED.items()
        if name in small
        for found in before.finditer(small)
    ]
    parts, done = [], 0
    for start, end, kind in sorted(named, key=itemgetter(0)):
        if start >= done and (value := kind.match(text, end)):
            parts += [text[done : value.end(1)], "[key]"]
            done = value.end()
    text = "".join([*parts, text[done:]])
    if "cookie" in small:
        text = _COOKIES.sub(r"\1[key]", text)
    return _BEARER.sub(r"\1[key]", text) if "bearer" in small else text


def _without_numbers(text: str) -> str:
    if not _DIGIT.search(text):
        return text
    text = _IBAN.sub(_iban, text)
    text = _LONG_WORD.sub(_tokens, text)
    if _COLONS.search(text):
        text = _IP6.sub(_ip6, text)
    text = _IP4.sub(_ip4, text)
    text = _OF_LETTERS.sub("[number]", _OF_DIGITS.sub("[number]", _IN_FOURS.sub(_in_fours, text)))
    for phone in _PHONES:
        text = phone.sub("[phone]", text)
    text = _WITH_SIGN.sub(_with_sign, _WITH_LETTER.sub(_with_letter, _CARD.sub(_card, text)))
    return _DIGITS.sub("[number]", _SOCIAL_SECURITY.sub("[number]", text))


def _vendor_keys(word: re.Match[str]) -> str:
    return _PREFIXED.sub("[key]", _JWT.sub("[key]", word[0]))


def _tokens(word: re.Match[str]) -> str:
    return _TOKEN.sub(_token, _SECRET.sub(_token, word[0]))


def _token(found: re.Match[str]) -> str:
    """Long runs that no word looks like: both cases with digits, or hexadecimal."""
    text = found[0]
    digits = sum(c.isdigit() for c in text)
    if digits < 3 or digits == len(text):
        return text
    mixed = text != text.lower() and text != text.upper()
    hexadecimal = len(text) >= 32 and not text.strip("0123456789abcdefABCDEF-")
    return "[key]" if mixed or hexadecimal else text


def _iban(found: re.Match[str]) -> str:
    """The longest beginning that passes the checksum; words may follow."""
    whole = found[0]
    ends = [len(whole), *(i for i in range(len(whole) - 1, 14, -1) if whole[i] in " -")]
    for end in ends:
        number = whole[:end].replace(" ", "").replace("-", "")
        if 15 <= len(number) <= 34 and int((number[4:] + number[:4]).translate(_BASE_36)) % 97 == 1:
            return "[iban]" + whole[end:]
    return whole


def _card(found: re.Match[str]) -> str:
    """A card where the checksum of cards holds, else some other long number."""
    return "[card]" if _passes([int(c) for c in found[0] if c.isdigit()]) else "[number]"


def _passes(digits: Sequence[int]) -> bool:
    """Whether the checksum of cards holds."""
    doubled = (d * 2 - 9 * (d > 4) for d in digits[-2::-2])
    return (sum(digits[::-2]) + sum(doubled)) % 10 == 0


def _in_fours(found: re.Match[str]) -> str:
    """By the checksum of Verhoeff: turns and flips of a pentagon."""
    check, digits = 0, [int(c) for c in found[0] if c != " "]
    for place, digit in enumerate(reversed(digits)):
        for _ in range(place % 8):
            digit = _TURNED[digit]
        turned = check + digit if check < 5 else check - digit
        check = turned % 5 + 5 * ((check < 5) != (digit < 5))
    return found[0] if check else "[number]"


def _with_sign(found: re.Match[str]) -> str:
    return "[number]" if _passes([int(c) for c in found[0] if c.isdigit()][-10:]) else found[0]


def _with_letter(found: re.Match[str]) -> str:
    number, letter = found[0][:8], found[0][-1]
    return "[number]" if _LETTERS[int(number.translate(_FOREIGNERS)) % 23] == letter else found[0]


def _ip4(found: re.Match[str]) -> str:
    return "[ip]" if all(int(part) < 256 for part in found[0].split(".")) else found[0]


def _ip6(found: re.Match[str]) -> str:
    text = found[0]
    if len(text) < 6 or not any(c.isdigit() for c in text):
        return text
    try:
        ip_address(text)
    except ValueError:
        return text
    return "[ip]"
