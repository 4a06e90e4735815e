"""The sentences that say why a file or a row cannot be used."""

from service.core.sentences import Language
from service.finance.reconcile.files import FileFault
from service.finance.reconcile.mapping import BadRowReason

FILE_FAULT_SENTENCES: dict[FileFault, dict[Language, str]] = {
    "unreadable": {
        "zh": "第 {line} 行起无法读取；请用 UTF-8 或 GBK 的 csv，或未加密的 xlsx",
        "en": "it cannot be read from line {line} on: send csv in UTF-8 or GBK, or xlsx without "
        "a password",
    },
    "missing_columns": {
        "zh": "表头中没有这些列：{columns}；请核对列名与分隔符（csv 用逗号），"
        "表头前有其他行时用 skip 略过",
        "en": "its heading lacks the columns {columns}: check their names, part a csv by commas, "
        "and skip the lines before the heading if there are any",
    },
    "repeated_columns": {
        "zh": "表头中以下列名出现不止一次：{columns}；请改名，使每一列只有一个含义",
        "en": "its heading has these columns more than once: {columns}; rename those that are not "
        "meant",
    },
    "too_many_rows": {
        "zh": "超过 1,000,000 行；请缩短期间，分几次对账",
        "en": "it has more than 1,000,000 rows: reconcile shorter periods",
    },
    "no_rows": {"zh": "文件中没有表头", "en": "it has no heading"},
    "key_too_common": {
        "zh": "账上有上万笔共用同一个键，无法逐笔对应；请改用能区分每笔的列（如 claim_id）",
        "en": "thousands of sales in the books share one key: match by columns that tell sales "
        "apart, like claim_id",
    },
    "interrupted": {
        "zh": "对账中途中断，未留下任何结果；请重新提交文件",
        "en": "the run was interrupted and nothing of it was kept: send the file again",
    },
    "ledger_unavailable": {
        "zh": "账本暂时无法读取，请稍后重新提交文件",
        "en": "the books could not be read: send the file again later",
    },
}
BAD_ROW_SENTENCES: dict[BadRowReason, dict[Language, str]] = {
    "too_few_cells": {"zh": "列数少于表头", "en": "has fewer cells than the heading"},
    "key_missing": {"zh": "用于匹配的列为空", "en": "is empty where it should be matched by"},
    "key_unreadable": {
        "zh": "用于匹配的列不是有效编号",
        "en": "has no valid number where it should be matched by",
    },
    "amount_unreadable": {
        "zh": "金额无法识别，应为最多两位小数的数（unit=fen 时为整数）",
        "en": "has no amount: a number with at most two decimals (with unit=fen, none)",
    },
    "state_unmapped": {
        "zh": "状态未映射，请在 states 中补充",
        "en": "has a state that is not mapped: add it to states",
    },
}


def fault_sentence(fault: FileFault, facts: dict[str, str], language: Language) -> str:
    return FILE_FAULT_SENTENCES[fault][language].format_map(facts)
