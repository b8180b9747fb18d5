"""Finding the answer in a reply, and the normal form in which answers are compared."""

from __future__ import annotations

import ast
import re
import textwrap
import unicodedata

_MARK = re.compile(r"\banswer\b[\s*_]*[:：][\s*_]*", re.IGNORECASE)
_BOXED = re.compile(r"\\boxed\s*\{(?:\s*\\(?:text|mathrm|mathbf|textbf)\s*\{([^{}]*)\}\s*|([^{}]*))\}")
_THOUGHT, _THOUGHT_ENDS = "<think>", "</think>"
# The letter of a choice, alone or with what it stands for: "(B)", "B. Paris", "Option B".
_CHOICE = re.compile(
    r"[\s*_]*+(?:(?i:option|choice)\s++)?[(\[]?(?:([A-Z])[*_]*+(?:[.:]|\W*+$)|([A-Za-z])[*_]*+[)\]])[*_]*+(?:\s|$)"
)
_ANY_CHOICE = re.compile(r"\b(?:[A-Z][.:)\]]|[a-z][)\]])")
_FENCE = re.compile(r"^[ \t]*```[^\n`]*\n(.*?)(?:^[ \t]*```|\Z)", re.MULTILINE | re.DOTALL)
_CODE_START = re.compile(r"^(?:(?:async )?def |class |import |from \w[\w.]* import |@\w|\w+ *= *lambda\b)")
_DEFINITION = re.compile(r"^\s*(?:async )?def |=\s*lambda\b", re.MULTILINE)
_ARTICLES = frozenset(("a", "an", "the"))
_SHORT = 25
# A sentence that holds one of these may name an answer in order to reject it.
_DOUBT = frozenset(
    ("not", "never", "no", "if", "whether", "or", "but", "nor", "neither", "cannot", "unless", "instead")
    + ("wrong", "incorrect", "maybe", "perhaps", "isnt", "dont", "doesnt", "cant", "wasnt", "arent")
)
_COPULAS = ("is", "are", "was", "were", "becomes", "equals", "means")
# Signs that make another answer: of a negative number, within a number or a time, in "C++", "C#", "A-", "x + 1", "x<1".
_COUNTS = re.compile(
    r"(?<!\w)-(?=[0-9.])|(?<=[0-9])[.:](?=[0-9])"
    r"|(?<=\w)(?:[+#]+(?!\w)|\s?[+<>≤≥≠]\s?(?=\w))|(?<=\b[^\W\d_])-(?!\w)"
)
# What they are called while all other signs are dropped: characters that mean nothing, and are no letters.
_HIDDEN = {ord(sign): chr(0xE000 + number) for number, sign in enumerate(".:-+#<>≤≥≠")}
_SHOWN = {ord(hidden): chr(sign) for sign, hidden in _HIDDEN.items()}
_TRUTH = {"yes": "no", "no": "yes", "true": "false", "false": "true"}
_QUOTES = {'"': '"', "'": "'", "`": "`", "“": "”", "‘": "’", "«": "»", "„": "“"}
_CODE_LIMIT = 40_000


def without_thoughts(reply: str) -> str:
    """A reply without what a reasoning model thought before it; nothing where it never came to an end of that."""
    thought, ended, rest = reply.partition(_THOUGHT_ENDS)
    begun = reply.lstrip().startswith(_THOUGHT)
    # Some chat templates open the thought themselves, so that only its end is in the reply.
    if ended and (begun or _THOUGHT not in thought):
        return rest
    return "" if begun else reply


def body(reply: str) -> str:
    """All that follows the last "Answer:" of a reply, or the whole reply."""
    marks = list(_MARK.finditer(reply))
    return (reply[marks[-1].end() :] if marks else reply).strip()


def marked(reply: str) -> bool:
    """Whether a reply says where its answer begins."""
    return _MARK.search(reply) is not None


def candidates(reply: str) -> list[str]:
    """The texts of a reply that may be its answer, the likeliest first."""
    text = body(_BOXED.sub(r"\1\2", reply))
    lines = [line.strip() for line in text.splitlines() if line.strip(" \t*_`")]
    if not lines:
        return []
    found = [text] if len(text.split()) <= _SHORT else []
    found.append(lines[0] if marked(reply) else lines[-1])
    return list(dict.fromkeys(found))


def normal(text: str) -> str:
    """Casefolded, without punctuation, markdown and articles; signs, decimal points and clock colons stay."""
    text = unicodedata.normalize("NFKC", text).casefold().replace("−", "-")
    text = re.sub(r"\b([ap])\.\s?m\b\.?", r"\1m", text)
    text = re.sub(r"[’'ʼ‘]", "", text)
    text = _COUNTS.sub(lambda match: match[0].strip().translate(_HIDDEN), text)
    words = re.sub(r"[^\w\ue000-\ue009]|_", " ", text).translate(_SHOWN).split()
    # An answer that is nothing but an article ("a" as a letter, "un") must not vanish.
    return " ".join([word for word in words if word not in _ARTICLES] or words)


def says(text: str, accepted: frozenset[str]) -> bool:
    """Whether a text is one of the accepted normal forms, or a plain sentence that ends in one."""
    if normal(text) in accepted:
        return True
    if len(text.split()) > _SHORT or "\n" in text.strip():
        return False
    return _leads_with_truth(text, accepted) or _chooses(text, accepted) or _ends_in(text, accepted)


def _leads_with_truth(text: str, accepted: frozenset[str]) -> bool:
    match = re.match(r"[\s*_]*(yes|no|true|false)\b[\s*_]*[,.;:!–—-]", text, re.IGNORECASE)
    if match is None or match[1].lower() not in accepted:
        return False
    return _TRUTH[match[1].lower()] not in normal(text).split()


def _chooses(text: str, accepted: frozenset[str]) -> bool:
    """ "B) Paris" and "Option B" count for "B"; two letters do not."""
    match = _CHOICE.match(text)
    if match is None or len(_ANY_CHOICE.findall(text)) > 1:
        return False
    return (match[1] or match[2]).lower() in accepted


def _ends_in(text: str, accepted: frozenset[str]) -> bool:
    """ "The capital is Paris." and "Sorted list: 1, 2" count; anything with a doubt in it does not."""
    heads = [(text[: m.start()], text[m.end() :]) for m in re.finditer(r"[:：]\s+", text)]
    pattern = rf"\s(?:{'|'.join(_COPULAS)}):?\s"
    heads += [(text[: m.start()], text[m.end() :]) for m in re.finditer(pattern, text, re.IGNORECASE)]
    for head, tail in heads:
        # More than one sentence before the answer may take it back or set conditions.
        if re.search(r"[.?;]\s", head) or _DOUBT & set(normal(head).split()):
            continue
        if normal(tail) in accepted or _chooses(tail, accepted):
            return True
    return False


def plain(text: str) -> str:
    """A text without the code fence, the markdown or the quotes around it; case and inner signs stay."""
    fence = _FENCE.fullmatch(text.strip() + "\n") or _FENCE.fullmatch(text.strip())
    text = (fence[1] if fence else text).strip()
    for mark in ("**", "__", "`"):
        if len(text) > 2 * len(mark) and text.startswith(mark) and text.endswith(mark):
            text = text[len(mark) : -len(mark)].strip()
    if len(text) > 1 and _QUOTES.get(text[0]) == text[-1] and text[0] not in text[1:-1]:
        text = text[1:-1].strip()
    return text


def python_code(reply: str) -> str:
    """The Python code of a reply: its fenced blocks with definitions, else the bare code in it."""
    text = reply[:_CODE_LIMIT].replace("\0", "")
    blocks = [textwrap.dedent(block) for block in _FENCE.findall(text)]
    # Usage examples stand in blocks of their own; several blocks of definitions belong together.
    wanted = [block for block in blocks if _DEFINITION.search(block)]
    parsed = [block for block in wanted if _parses(block)]
    if parsed:
        return "\n".join(parsed)
    if wanted:
        return _longest_code(wanted[-1])
    after = body(text)
    return _longest_code(after if "def " in after or "lambda" in after else text)


def _longest_code(text: str) -> str:
    lines = textwrap.dedent(text).splitlines()[:400]
    lines = [line for line in lines if not line.lstrip().startswith("```")]
    start = next((spot for spot, line in enumerate(lines) if _CODE_START.match(line)), None)
    if start is None:
        return ""
    for end in range(len(lines), start, -1):
        code = "\n".join(lines[start:end])
        if _parses(code):
            return code
    return ""


def _parses(code: str) -> bool:
    try:
        ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
