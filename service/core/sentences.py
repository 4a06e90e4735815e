"""A sentence for people, in both languages, with gaps that facts fill."""

from string import Formatter
from typing import Literal, NamedTuple

Language = Literal["zh", "en"]


class Sentence(NamedTuple):
    zh: str
    en: str

    def in_language(self, language: Language) -> str:
        return self.zh if language == "zh" else self.en

    def gaps(self) -> frozenset[str]:
        return frozenset(name for _, name, _, _ in Formatter().parse(self.zh) if name)
