"""The sentences that say why a file or a row cannot be used, or why a run failed."""

from service.core.sentences import Language, Sentence
from service.finance.files.faults import FAULTS, in_place
from service.finance.reconcile.mapping import BadRowReason

RUN_FAULTS: dict[str, Sentence] = {
    **FAULTS,
    "interrupted": Sentence(
        "对账中途中断，未留下任何结果；请重新提交文件",
        "the run was interrupted and nothing of it was kept: send the file again",
    ),
    "ledger_unavailable": Sentence(
        "账本暂时无法读取，请稍后重新提交文件",
        "the books could not be read: send the file again later",
    ),
}
BAD_ROW_SENTENCES: dict[BadRowReason, Sentence] = {
    "too_few_cells": Sentence("列数少于表头", "has fewer cells than the heading"),
    "key_missing": Sentence("用于匹配的列为空", "is empty where it should be matched by"),
    "key_unreadable": Sentence(
        "用于匹配的列不是有效编号", "has no valid number where it should be matched by"
    ),
    "amount_unreadable": Sentence(
        "金额无法识别，应为最多两位小数的数（unit=fen 时为整数）",
        "has no amount: a number with at most two decimals (with unit=fen, none)",
    ),
    "state_unmapped": Sentence(
        "状态未映射，请在 states 中补充", "has a state that is not mapped: add it to states"
    ),
    "formula_failed": Sentence(
        "单元格是公式出错的结果（如 #N/A）；请更正公式，或改为填写数值",
        "has the error of a formula, like #N/A: correct the formula, or write the value itself",
    ),
    "digits_lost": Sentence(
        "编号被电子表格当作数字而丢失了末尾数位；请把该列设为文本格式后重新导出",
        "has a number that lost digits in a spreadsheet: format the column as text, and export it "
        "again",
    ),
    "too_many_cells": Sentence("列数多于表头", "has more cells than the heading"),
    "kind_unknown": Sentence(
        "交易类型未知，请人工核对", "is of an unknown kind of transaction: look at it yourself"
    ),
    "sign_contradicts": Sentence(
        "金额的借贷标志与交易类型不符，请人工核对",
        "has an amount whose sign contradicts the kind of transaction: look at it yourself",
    ),
    "dispute": Sentence(
        "差错或退单记录，请人工核对", "is a record of a fault or a chargeback: look at it yourself"
    ),
    "reference_unreadable": Sentence(
        "检索参考号应为 11 位数字加 N", "has no valid 检索参考号: 11 digits and N"
    ),
    "reference_repeated": Sentence(
        "检索参考号在文件中重复", "has a 检索参考号 that an earlier row has already"
    ),
    "amount_is_boolean": Sentence(
        "金额是 TRUE 或 FALSE，应为数", "has TRUE or FALSE as its amount, where a number belongs"
    ),
    "payment_and_refund": Sentence(
        "同一行既有付款又有退款；请分成两行；"
        "若两个金额相同，可用 states 把退款的状态映射为 refunded",
        "has a payment and a refund: give each a row of its own, or map the state of refunds to "
        "refunded if the amounts are equal",
    ),
}


def fault_sentence(fault: str, facts: dict[str, str], language: Language) -> str:
    return in_place(RUN_FAULTS[fault], facts, language)
