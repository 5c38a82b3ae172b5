"""What the name of a column says: a text, a label, an id, or something beside the point."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from hpo_pipeline.data.cleaning.columns import INPUT_NAMES, PAIRS
from hpo_pipeline.drafting.profiles import TEXT_WORDS, Profile

_LABELS = (
    *("label", "labels", "class", "classes", "target", "category", "categories", "sentiment"),
    *("topic", "topics", "stars", "rating", "score", "intent", "emotion", "genre", "genres"),
    *("tags", "tag", "y", "polarity", "spam", "is_spam", "toxic", "outcome", "grade", "verdict"),
    *("similarity", "relevance", "label_text", "label_name", "kind", "type", "priority"),
)
_TEXTS = (
    *("review", "comment", "body", "message", "content", "tweet", "question", "description"),
    *("document", "article", "post", "abstract", "utterance", "query", "prompt", "title", "sms"),
)
_METADATA = (
    *("lang", "language", "split", "source", "country", "region", "city", "user", "author", "name"),
    *("gender", "sex", "age", "device", "platform", "channel", "verified", "version", "date"),
    *("time", "timestamp", "year", "month", "day", "username", "annotator", "fold", "subset"),
    *("likes", "retweets", "votes", "helpful", "price", "count", "views", "length", "file"),
)
_ASKED = ("prompt", "instruction", "question", "query", "source", "document", "article", "dialogue")
_ANSWERS = (
    *("completion", "response", "answer", "output", "target", "summary", "highlights"),
    *("translation", "title", "headline"),
)
_REWRITTEN = ("summary", "highlights", "translation", "headline", "target")
_ID = re.compile(
    r"(.*[_ .-])?(id|ids|uuid|guid|index|idx|key|url|uri|link|hash|no|nr)|.*Id|unnamed.*"
)
_GROUP = re.compile(
    r"(user|author|customer|patient|doc|document|session|speaker|subject)[_ ]?(id)?"
)
_LANGUAGES = re.compile(r"(text_|sentence_|src_|tgt_)?[a-z]{2}([_-][a-z]{2})?")
FIRST, SECOND, OTHER, LEAST = range(4)


def rank(name: str) -> int:
    """Return how likely a name is that of a label: FIRST, SECOND, OTHER or LEAST."""
    lower = name.strip().lower()
    if lower in ("label", "labels"):
        return FIRST
    if is_metadata(lower):
        return LEAST
    return SECOND if lower in _LABELS or lower.startswith(("label", "is_")) else OTHER


def is_metadata(name: str) -> bool:
    """Return whether a name says where a row comes from, rather than what it is."""
    parts = re.split(r"[_ .-]", name.strip().lower())
    return name.strip().lower() in _METADATA or parts[-1] in ("date", "time", "at", "count", "name")


def is_id(profile: Profile) -> bool:
    """Return whether a column names its rows, or holds dates or nothing."""
    if profile.what in ("nothing", "date"):
        return True
    lower = profile.name.strip().lower()
    is_named = bool(_ID.fullmatch(profile.name.strip()) or _ID.fullmatch(lower)) or not lower
    if profile.what in ("whole", "word"):
        is_counted = profile.is_unique and rank(profile.name) > SECOND
        return (is_named and not profile.is_class_like) or (is_counted and profile.filled > 20)
    return is_named and profile.what == "text" and profile.words < TEXT_WORDS


def labels(found: Iterable[Profile]) -> list[Profile]:
    """Return the likeliest columns of labels: one, or several where nothing tells them apart."""
    known = [profile for profile in found if not is_id(profile)]
    least = min((rank(profile.name) for profile in known), default=OTHER)
    likely = [profile for profile in known if rank(profile.name) == least]
    kept: list[Profile] = []
    for one in likely:
        if not any(_says_the_same(one, other) for other in kept):
            kept.append(one)
    return kept


def _says_the_same(one: Profile, other: Profile) -> bool:
    """Return whether two columns name the same classes, such as 0 and negative."""
    if one.different != other.different or len(one.values) != len(other.values):
        return False
    pairs = {(str(a), str(b)) for a, b in zip(one.values, other.values, strict=True)}
    return len(pairs) == one.different


def texts(known: Iterable[Profile]) -> list[Profile]:
    """Return the columns of texts, the likeliest first."""
    found = [
        profile
        for profile in known
        if profile.what == "text" or (profile.what == "word" and _place(profile.name) is not None)
    ]
    return sorted(
        (profile for profile in found if not is_id(profile) and profile.different > 1),
        key=lambda p: (_place(p.name) is None, _place(p.name) or 0, -p.words),
    )


def best_text(found: Sequence[Profile]) -> Profile:
    """Return the column that is most likely the text."""
    usual = [p for p in found if p.name.strip().lower() in INPUT_NAMES]
    return usual[0] if usual else max(found, key=lambda p: (p.words, _place(p.name) is not None))


def pair(found: Sequence[Profile]) -> tuple[str, ...]:
    """Return two columns whose texts belong together; none where there are no such."""
    names = {p.name.strip().lower(): p.name for p in found}
    for first, second in PAIRS:
        if first in names and second in names:
            return (names[first], names[second])
    for lower, name in names.items():
        for one, other in (("1", "2"), ("_a", "_b"), ("left", "right"), ("first", "second")):
            partner = re.sub(f"{one}$|^{one}", other, lower)
            if partner != lower and partner in names:
                return (name, names[partner])
    return ()


def answered(names: Sequence[str]) -> tuple[str | None, str | None]:
    """Return the column of questions and that of answers, by their names."""
    by_lower = {name.strip().lower(): name for name in names}
    asked = next((by_lower[name] for name in _ASKED if name in by_lower), None)
    answer = next((by_lower[name] for name in _ANSWERS if name in by_lower), None)
    if len(names) == 2 and answer is None and all(map(_is_language, names)):
        return names[0], names[1]
    if asked is None and answer is not None:
        asked = next((by_lower[name] for name in INPUT_NAMES if name in by_lower), None)
    return asked, answer


def is_rewriting(asked: str, answer: str) -> bool:
    """Return whether the answer says the same as what was asked: a summary, a translation."""
    is_translated = _is_language(asked) and _is_language(answer)
    return answer.strip().lower() in _REWRITTEN or is_translated


def group(known: Iterable[Profile]) -> str | None:
    """Return a column that says which rows belong together, such as those of a user."""
    return next(
        (
            p.name
            for p in known
            if _GROUP.fullmatch(p.name.strip().lower())
            and p.what in ("whole", "word")
            and not p.is_unique
            and p.different >= 10
        ),
        None,
    )


def _is_language(name: str) -> bool:
    return bool(_LANGUAGES.fullmatch(name.strip().lower()))


def _place(name: str) -> int | None:
    usual = (*INPUT_NAMES, *(name for names in PAIRS for name in names), *_TEXTS)
    lower = name.strip().lower()
    return usual.index(lower) if lower in usual else None
