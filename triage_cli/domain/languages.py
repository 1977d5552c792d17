"""The languages that tickets are told apart by, and those of them that the embedded model reads untaught.

Codes are of ISO 639-1. Regional languages and creoles are left out, because short tickets would be taken for them.
"""

import re
from collections.abc import Iterator, Mapping

LANGUAGES: Mapping[str, str] = {
    "ar": "Arabic", "az": "Azerbaijani", "bg": "Bulgarian", "bn": "Bengali", "bs": "Bosnian", "cs": "Czech",
    "da": "Danish", "de": "German", "el": "Greek", "en": "English", "es": "Spanish", "et": "Estonian", "fa": "Persian",
    "fi": "Finnish", "fr": "French", "gu": "Gujarati", "he": "Hebrew", "hi": "Hindi", "hr": "Croatian",
    "hu": "Hungarian", "hy": "Armenian", "id": "Indonesian", "is": "Icelandic", "it": "Italian", "ja": "Japanese",
    "ka": "Georgian", "kk": "Kazakh", "kn": "Kannada", "ko": "Korean", "lt": "Lithuanian", "lv": "Latvian",
    "mk": "Macedonian", "ml": "Malayalam", "mr": "Marathi", "ms": "Malay", "nl": "Dutch", "no": "Norwegian",
    "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sk": "Slovak", "sl": "Slovenian",
    "sq": "Albanian", "sr": "Serbian", "sv": "Swedish", "sw": "Swahili", "ta": "Tamil", "te": "Telugu", "th": "Thai",
    "tl": "Tagalog", "tr": "Turkish", "uk": "Ukrainian", "ur": "Urdu", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip
READ_LANGUAGES = frozenset(
    ["ar", "de", "en", "es", "fr", "it", "ja", "ko", "nl", "pl", "pt", "ru", "th", "tr", "zh"]
)  # "zh" is written in two scripts

# Scripts that are written without blanks, by what their words are cut into: runs of kana are taken as they are; two
# ideographs are a word more often than one or three; syllables of Thai, Lao, Khmer and Burmese take three and more.
_KANA = "\u3040-\u309f", "\u30a0-\u30ff\u31f0-\u31ff\uff66-\uff9f"
_IDEOGRAPHS = "\u3005\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_SYLLABLES = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
_WITHOUT_BLANKS = "|".join(f"([{each}]+)" for each in (*_KANA, _IDEOGRAPHS, _SYLLABLES))
# What is a word of them, in a text `with_blanks`; a vowel sign of a syllable is no letter.
WORD_WITHOUT_BLANKS = f"[{_SYLLABLES}]{{3,}}|[{_KANA[0]}{_KANA[1]}{_IDEOGRAPHS}]{{2,}}"
_TOGETHER = {3: 2, 4: 4}  # characters of the pieces of a run, by its group


def with_blanks(text: str) -> str:
    """Return a text with blanks between the words of scripts that have none; longer runs become overlapping pieces."""
    # Compiled when needed: that takes 2 ms.
    return text if text.isascii() else re.sub(_WITHOUT_BLANKS, lambda run: f" {' '.join(_pieces(run))} ", text)


def _pieces(run: re.Match[str]) -> Iterator[str]:
    size = _TOGETHER.get(run.lastindex or 0, len(run[0]))
    return (run[0][start : start + size] for start in range(max(len(run[0]) - size, 0) + 1))
