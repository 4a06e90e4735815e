"""Units of amounts by language: 万元 for budgets, 元 for exact sums."""

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
