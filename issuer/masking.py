"""Names as they are shown: enough to compare a person with a card, too little to learn a name.

    王小秀 -> 王*秀      王秀 -> 王*      秀 -> *      Anna Schmidt -> A*a S*t

Each word is masked by itself: first and last character stay, whatever is between becomes one star, so
that the length is not given away. A character is what a reader sees as one, accents included (a
simplification of Unicode Standard Annex 29); one that is neither letter nor digit becomes a star.
"""

import re
import unicodedata

from verifier.wire.code import MAX_HINT_BYTES

# Room for a letter with two accents. A taller pile could not be compared by eye and would fill the hint.
_MAX_CHARACTER_BYTES = 8
# Marks, and the invisible joiners of Indic and Arabic scripts, belong to the character before them.
_JOINS_THE_ONE_BEFORE = frozenset({"Mn", "Mc", "Me", "Cf"})


def mask_name(name: str) -> str:
    """Return the masked name, NFC, at most 32 bytes of UTF-8; further words are left off."""
    masked = ""
    for word in unicodedata.normalize("NFC", name).split():
        longer = f"{masked} {_mask_word(word)}".lstrip()
        if len(longer.encode()) > MAX_HINT_BYTES:
            break
        masked = longer
    return masked


def _mask_word(word: str) -> str:
    characters = _split_characters(word)
    first, last = _show(characters[0]), _show(characters[-1])
    match len(characters):
        case 1:
            return "*"
        case 2:
            return _one_star(f"{first}*")
        case _:
            return _one_star(f"{first}*{last}")


def _split_characters(word: str) -> list[str]:
    characters: list[str] = []
    for code_point in word:
        if characters and unicodedata.category(code_point) in _JOINS_THE_ONE_BEFORE:
            characters[-1] += code_point
        else:
            characters.append(code_point)
    return characters


def _show(character: str) -> str:
    is_readable = unicodedata.category(character[0])[0] in "LN"
    return character if is_readable and len(character.encode()) <= _MAX_CHARACTER_BYTES else "*"


def _one_star(text: str) -> str:
    return re.sub(r"\*+", "*", text)
