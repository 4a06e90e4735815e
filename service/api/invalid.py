"""Sentences for invalid fields: each says what to fix.

A sentence never has the value in it, which may be a person's ID number.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from service.api.problems import language_of, problem
from service.core.sentences import Language

# Sentences by error type: pydantic's, and those that our validators raise. The error's context
# fills the gaps.
SENTENCES: dict[str, dict[Language, str]] = {
    "missing": {"zh": "缺少此项", "en": "is required"},
    "extra_forbidden": {"zh": "不认识此字段，请删除", "en": "is not a known field: remove it"},
    "int_type": {
        "zh": "应为整数，不加引号和小数点",
        "en": "must be a whole number, without quotes or decimals",
    },
    "int_parsing": {"zh": "应为整数", "en": "must be a whole number"},
    "int_parsing_size": {"zh": "数值过大", "en": "is far too large"},
    "bool_type": {"zh": "应为 true 或 false", "en": "must be true or false"},
    "bool_parsing": {"zh": "应为 true 或 false", "en": "must be true or false"},
    "given_twice": {
        "zh": "只能给出一次",
        "en": "stands there more than once: give it once, or ask once for each value",
    },
    "days_reversed": {
        "zh": "from 不得晚于 to，请核对起止日期",
        "en": "from must not be after to: check the two days",
    },
    "finds_nothing": {
        "zh": "请至少映射 claim_id、order_no、invoice_no、serial_no 之一",
        "en": "names nothing to find a sale by: map claim_id, order_no, invoice_no or serial_no",
    },
    "profile_frame": {
        "zh": "profile 自带表头位置、金额单位与退款列；请去掉 skip、skip_end、unit、refund",
        "en": "has a profile, which knows its frame, its unit and its refunds: leave out skip, "
        "skip_end, unit and refund",
    },
    "states_without_state": {
        "zh": "有 states 而没有 state；请用 state 指明状态列",
        "en": "has states but no state: name the column of the states with state",
    },
    "refund_of_sales": {
        "zh": "refund 只用于 rows=movements；请改用 rows=movements，或删去 refund",
        "en": "has a refund column, and its rows are sales: add rows=movements, or leave it out",
    },
    "net_movements": {
        "zh": "rows=movements 逐笔核对补贴的付款与退款，不能与 amount_is=net、price"
        "（yjhx 文件即为 price）同用；请删去其一",
        "en": "has amount_is=net or price (as a yjhx file has), and its rows are movements: leave "
        "one of the two out",
    },
    "state_words": {
        "zh": "应形如 支付成功:confirmed，多个用逗号分隔；状态只能取 confirmed、refunded、"
        "partly_refunded、reserved、cancelled、expired",
        "en": "must look like paid:confirmed,returned:refunded; a state is confirmed, refunded, "
        "partly_refunded, reserved, cancelled or expired",
    },
    "string_type": {"zh": "应为字符串", "en": "must be a string"},
    "string_unicode": {"zh": "含有无效字符", "en": "holds invalid characters"},
    "string_too_short": {
        "zh": "至少 {min_length} 个字符",
        "en": "needs at least {min_length} characters",
    },
    "string_too_long": {
        "zh": "最多 {max_length} 个字符",
        "en": "may have at most {max_length} characters",
    },
    "string_pattern_mismatch": {
        "zh": "格式不符，或含有不允许的字符",
        "en": "has the wrong format, or characters that are not allowed",
    },
    "greater_than": {"zh": "应大于 {gt}", "en": "must be more than {gt}"},
    "greater_than_equal": {"zh": "不得小于 {ge}", "en": "must be {ge} or more"},
    "less_than_equal": {"zh": "不得大于 {le}", "en": "must be {le} or less"},
    "too_short": {"zh": "至少要有 {min_length} 项", "en": "needs at least {min_length}"},
    "too_long": {"zh": "最多 {max_length} 项", "en": "may have at most {max_length}"},
    "tuple_type": {"zh": "应为数组", "en": "must be an array"},
    "list_type": {"zh": "应为数组", "en": "must be an array"},
    "model_type": {"zh": "应为对象", "en": "must be an object"},
    "model_attributes_type": {"zh": "应为对象", "en": "must be an object"},
    "literal_error": {"zh": "只能取 {expected}", "en": "must be {expected}"},
    "instant": {
        "zh": "不是有效时间（2000 至 2100 年，带时区），应如 2025-06-18T10:15:00+08:00",
        "en": "is no valid time (2000 to 2100, with a zone): write it like "
        "2025-06-18T10:15:00+08:00",
    },
    "day_or_instant": {
        "zh": "应为日期或带时区的时间，如 2025-06-18 或 2025-06-18T10:15:00+08:00",
        "en": "must be a day or a time with its zone, like 2025-06-18 or 2025-06-18T10:15:00+08:00",
    },
    "uuid_parsing": {
        "zh": "应为上一页返回的 next_cursor",
        "en": "must be the next_cursor of the page before",
    },
    "claim_id": {
        "zh": "应为补贴单号（UUID），请核对",
        "en": "must be a claim's id, which is a UUID: check it",
    },
    "one_mark": {
        "zh": "请用 claim_id、order_no、invoice_no、serial_no 中的一项来查，且只用一项；"
        "或用 retailer 加 invoiced 或 red_letter_missing",
        "en": "must have exactly one of claim_id, order_no, invoice_no and serial_no; or retailer "
        "with invoiced or red_letter_missing",
    },
    "day": {"zh": "应为日期，如 2021-03-01", "en": "must be a day like 2021-03-01"},
    "gtin": {
        "zh": "商品条码有误，应为 8、12、13 或 14 位数字并通过校验",
        "en": "is not a GTIN: 8, 12, 13 or 14 digits with a check digit",
    },
    "imei": {
        "zh": "IMEI 有误，应为 15 位数字（可含空格和连字符）并通过校验，且不得全为同一数字",
        "en": "is not an IMEI: 15 digits with a check digit, and not one digit 15 times; blanks "
        "and hyphens may be between them",
    },
    "imei2": {
        "zh": "imei2 是手机的第二个 IMEI：须同时填写 imei，且两者不得相同",
        "en": "is the second IMEI of a phone: give imei as well, and another number here",
    },
    "serial": {
        "zh": "序列号应为 1 至 64 个半角字符，至少含一个字母、数字或符号（空格和连字符不计）",
        "en": "is not a serial number: 1 to 64 letters, digits and signs (ASCII), of which one at "
        "least is neither a blank nor a hyphen",
    },
    "id_format": {
        "zh": "证件号码与证件类型不符，请核对",
        "en": "does not fit the kind of document: check the number",
    },
    "id_check_digit": {
        "zh": "身份证号码校验位有误，请核对",
        "en": "has a wrong check digit: check the number",
    },
    "id_birth_date": {
        "zh": "身份证号码中的出生日期无效，请核对",
        "en": "holds no valid date of birth: check the number",
    },
    "vin": {
        "zh": "汽车的序列号应为车辆识别代号（17 位并通过校验），请核对",
        "en": "of a car is its VIN: 17 characters with a check digit",
    },
    "e_bike_code": {
        "zh": "电动自行车的序列号应为整车编码（15 位数字，第 5 位为 2），请核对",
        "en": "of an e-bike is its vehicle code: 15 digits, the fifth of them a 2",
    },
    "old_vin": {
        "zh": "旧车的序列号应为 17 位车辆识别代号，请核对",
        "en": "of an old car is its VIN: 17 letters and digits",
    },
    "no_such_line": {
        "zh": "该笔没有第 {line_no} 行，请核对行号",
        "en": "names line {line_no}, which this claim does not have",
    },
    "invoice_date": {
        "zh": "开票日期应在 2000 年之后且不晚于今天",
        "en": "must lie after 2000 and not later than today",
    },
    "invoice_before_sale": {
        "zh": "开票日期早于销售日 30 天以上，请核对发票",
        "en": "lies more than 30 days before the sale: check the invoice",
    },
    "invoice_number": {
        "zh": "发票号码应为 20 位数字；或 8 位数字并填写发票代码",
        "en": "must be 20 digits, or 8 digits with the invoice's code",
    },
    "invoice_year": {
        "zh": "20 位发票号码的前两位应为开票年份，请核对号码和日期",
        "en": "must begin with the year of the date, as each number of 20 digits does: check both",
    },
    "invoice_code": {
        "zh": "8 位发票号码须填写 10 位或 12 位的发票代码",
        "en": "must have 10 or 12 digits, for the number has 8",
    },
    "invoice_code_extra": {
        "zh": "20 位号码的发票没有发票代码，请删去",
        "en": "must be left out: an invoice with a number of 20 digits has no code",
    },
    "no_such_invoice": {
        "zh": "该笔没有这个号码的发票；请先填报原发票",
        "en": "is no invoice of this claim: file the sale's own invoice first",
    },
    "red_letter_too_large": {
        "zh": "红字发票金额超过已退货部分（尚可冲红 {left} 元），请先办理退款，或核对金额",
        "en": "takes back more than came back ({left} yuan are left): refund the lines first, or "
        "check the total",
    },
    "red_letter_before": {
        "zh": "红字发票的日期不得早于被冲红的发票",
        "en": "must not be before the date of the invoice that it takes back",
    },
    "red_letter_of_differs": {
        "zh": "与发票文件中的原发票号码不一致，请核对",
        "en": "is not the number that the invoice's file gives: check both",
    },
    "taken_back": {
        "zh": "该发票已被红字发票冲红，请填报新开的发票",
        "en": "was taken back by a red-letter invoice: file the new invoice",
    },
    "company_buyer": {
        "zh": "发票的购买方是企业，补贴只给个人消费者，请核对",
        "en": "is a company by its tax number, and the subsidy is for persons: check the invoice",
    },
    "in_the_body": {
        "zh": "只用于提交发票文件；按 JSON 填报时请写在报文中",
        "en": "is a parameter for files: JSON has it in the body",
    },
    "other_kind": {
        "zh": "该号码已作为本笔的另一种发票填报（蓝字或红字），请核对号码",
        "en": "was filed for this claim as the other kind of invoice, red-letter or not: check the "
        "number",
    },
    "red_letter_sign": {
        "zh": "红字发票的金额应为负数",
        "en": "must be negative on a red-letter invoice",
    },
    "red_letter_lines": {
        "zh": "红字发票冲减的是一张发票，请删去 lines",
        "en": "must be left out: a red-letter invoice takes back an invoice",
    },
    "red_letter_of_missing": {
        "zh": "金额为负的是红字发票，须填写被冲红的发票号码",
        "en": "is required, because the total is negative: give the number that this red-letter "
        "invoice takes back",
    },
    "not_the_seller": {
        "zh": "发票的销售方税号与登记的企业不符，请核对是否为本企业开具；分公司以自己的税号开具的，"
        "请按 JSON 填报",
        "en": "on the invoice is not the enrolled retailer, by its tax number: check who issued "
        "it. Send the invoice of a branch with its own tax number as JSON",
    },
    "budget_above_all": {
        "zh": "调整后的预算超过上限，请核对金额（单位：分）",
        "en": "would raise the budget above all reason: check it, it is in fen",
    },
    "not_equal": {"zh": "不得为 0", "en": "must not be 0"},
    "uscc": {
        "zh": "统一社会信用代码有误，应为 18 位并通过校验（GB 32100），请核对",
        "en": "is not a USCC: 18 characters with a check digit (GB 32100)",
    },
    "unknown_retailer": {
        "zh": "没有这家企业，请先登记",
        "en": "is no enrolled retailer: enrol it first",
    },
    "role_and_retailer": {
        "zh": "pos 密钥须指明所属企业，其他角色的密钥不属于任何企业",
        "en": "is needed for a pos key, and may not stand in one of another role",
    },
    "duplicate_line_no": {
        "zh": "各商品行的 line_no 不得重复",
        "en": "must differ from item to item in line_no",
    },
}
FALLBACK: dict[Language, str] = {"zh": "取值无效", "en": "is not valid"}

# Enough to correct a request. A hostile one has thousands of errors, or a name of 100 kB.
FIELDS_MAX = 10
NAME_MAX = 64


def invalid_fields(errors: Sequence[Mapping[str, Any]], language: Language) -> list[dict[str, str]]:
    """The first FIELDS_MAX errors, each with its field and what to fix."""
    return [
        {
            "field": ".".join(str(step)[:NAME_MAX] for step in error["loc"]) or "body",
            "detail": _sentence(error, language),
        }
        for error in telling(errors)[:FIELDS_MAX]
    ]


def telling(errors: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The errors, but no "too short" of an array with invalid members: pydantic leaves them out
    before it counts."""
    paths = [tuple(error["loc"]) for error in errors]
    parents = {path[:depth] for path in paths for depth in range(1, len(path))}
    return [
        error
        for error, path in zip(errors, paths, strict=True)
        if not (error["type"] == "too_short" and path in parents)
    ]


def _sentence(error: Mapping[str, Any], language: Language) -> str:
    template = SENTENCES.get(error["type"], FALLBACK)[language]
    facts = dict(error.get("ctx", {}))
    if language == "zh" and "expected" in facts:  # pydantic's list is English: 'a', 'b' or 'c'
        facts["expected"] = facts["expected"].replace(", ", "、").replace(" or ", " 或 ")
    return template.format_map(facts)


def summary(fields: Sequence[Mapping[str, str]]) -> str:
    """All fields in one text, for tills that show only `detail`."""
    return "; ".join(f"{field['field']}: {field['detail']}" for field in fields)


def invalid_field(
    request: Request, field: str, error: str, facts: Mapping[str, Any] | None = None
) -> Response:
    """The answer to a field whose value is possible in itself, but not in this request."""
    errors = [{"type": error, "loc": (field,), "ctx": facts or {}}]
    fields = invalid_fields(errors, language_of(request))
    return problem(request, "invalid_field", detail=summary(fields), fields=fields)
