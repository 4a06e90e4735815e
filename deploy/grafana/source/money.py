"""Amounts as each language reads them: 万元 where a district's budget is counted, 元 for a sum."""

from deploy.grafana.source.words import Language


def wan(expr: str, language: Language) -> str:
    """Fen as ten thousands of yuan; in English as yuan, which Grafana shortens itself."""
    return f"({expr}) / {'1e6' if language == 'zh' else '100'}"


def wan_unit(language: Language) -> str:
    return "suffix: 万元" if language == "zh" else "currencyCNY"


def yuan(expr: str) -> str:
    return f"({expr}) / 100"


def yuan_unit(language: Language) -> str:
    return "suffix: 元" if language == "zh" else "suffix: yuan"
