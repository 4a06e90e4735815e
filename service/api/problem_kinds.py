"""Every problem that the API can answer with: its code, status and sentences.

A code is never renamed: tills compare it.
"""

from dataclasses import dataclass

from service.core.sentences import Language


@dataclass(frozen=True, slots=True)
class ProblemKind:
    """One code: its status, title and sentence in both languages, and whether a retry helps."""

    status: int
    title: dict[Language, str]
    detail: dict[Language, str]
    retryable: bool = False
    retry_after_s: int | None = None


def _kind(
    status: int,
    zh: tuple[str, str],
    en: tuple[str, str],
    *,
    retry_after_s: int | None = None,
) -> ProblemKind:
    return ProblemKind(
        status,
        {"zh": zh[0], "en": en[0]},
        {"zh": zh[1], "en": en[1]},
        retryable=retry_after_s is not None,
        retry_after_s=retry_after_s,
    )


KINDS: dict[str, ProblemKind] = {
    "malformed_request": _kind(
        400,
        ("请求格式错误", "请求内容不是有效的 JSON（UTF-8，不带 BOM），请检查收银系统发送的报文。"),
        (
            "Malformed request",
            "The body is not valid JSON (UTF-8, no byte order mark): check what the till sends.",
        ),
    ),
    "invalid_idempotency_key": _kind(
        400,
        (
            "幂等键无效",
            "请在唯一的请求头 Idempotency-Key 中填写 1 至 255 个可见 ASCII 字符；"
            "每笔销售一个，重试时保持不变。",
        ),
        (
            "Invalid idempotency key",
            "Send one header Idempotency-Key with 1 to 255 visible ASCII characters: "
            "one for each sale, the same on every retry.",
        ),
    ),
    "unauthorized": _kind(
        401,
        ("密钥无效", "请在请求头中填写 Authorization: Bearer <密钥>；密钥缺失、错误或已失效。"),
        (
            "No valid key",
            "Send the header Authorization: Bearer <key>: the key is missing, wrong or expired.",
        ),
    ),
    "missing_scope": _kind(
        403,
        ("无此权限", "此密钥无权执行该操作，请使用相应角色的密钥。"),
        ("Not allowed", "This key may not do that: use the key of the role that may."),
    ),
    "foreign_store": _kind(
        403,
        ("不是本企业门店", "该门店属于其他企业，请核对 store_id 与密钥。"),
        (
            "Another retailer's store",
            "The store belongs to another retailer: check store_id and the key.",
        ),
    ),
    "not_found": _kind(
        404,
        ("未找到", "没有这条记录，或不属于本企业；请核对编号。"),
        ("Not found", "There is no such record, or it is not yours: check the number."),
    ),
    "method_not_allowed": _kind(
        405,
        ("方法不允许", "此地址不接受该请求方法，请查阅 /docs。"),
        ("Method not allowed", "This address does not take that method: see /docs."),
    ),
    "claim_refused": _kind(
        409,
        ("不予补贴", "本单不能享受补贴，原因见各商品行；顾客可按原价付款。"),
        (
            "Claim refused",
            "No subsidy for this sale, for the reasons given; the customer may pay in full.",
        ),
    ),
    "wrong_state": _kind(
        409,
        ("状态不允许", "该记录当前的状态不允许此操作，请先查询其状态。"),
        ("Wrong state", "The record's state does not allow that: read it first."),
    ),
    "budget_below_spent": _kind(
        409,
        ("预算低于已用金额", "该预算最多还可调减 {free} 元，其余已用于补贴或已预占。"),
        (
            "Budget below what is spent",
            "At most {free} yuan can be taken from this budget: the rest is spent or held.",
        ),
    ),
    "tranche_ended": _kind(
        409,
        ("该期预算已开放", "该期预算已开放或已撤回，不能撤回；如需收回请作预算调减。"),
        (
            "Tranche is not planned any more",
            "This tranche has opened: take the money back by an adjustment.",
        ),
    ),
    "already_exists": _kind(
        409,
        ("已登记", "该编号或统一社会信用代码已登记，请核对；如需修改请联系系统管理员。"),
        ("Already enrolled", "This id, or this USCC, is enrolled already: check it."),
    ),
    "key_ended": _kind(
        409,
        ("密钥已失效", "该密钥已过期或已吊销，不能轮换，请另建一个。"),
        ("Key has ended", "This key has expired or was revoked: create another."),
    ),
    "invoice_taken": _kind(
        409,
        (
            "发票已被使用",
            "该发票号码已用于另一笔申领，请核对号码；一张发票只能对应一笔申领，换票后亦同。",
        ),
        (
            "Invoice already used",
            "This invoice was filed for another claim: check its number. One invoice serves one "
            "claim, even when another invoice has replaced it.",
        ),
    ),
    "nothing_to_settle": _kind(
        409,
        (
            "无可结算",
            "该企业在此期间没有尚未结算且已开票的分录，请核对期间，或待企业补录发票后再试。",
        ),
        (
            "Nothing to settle",
            "The retailer has no entry with an invoice in that period that is not settled yet: "
            "check the period, or wait for its invoices.",
        ),
    ),
    "advance_outstanding": _kind(
        409,
        ("预拨未扣回", "该企业已有一笔预拨尚未在结算中扣回，请先完成结算，或作废其草稿。"),
        (
            "An advance is outstanding",
            "The retailer has an advance that was not netted yet: settle first, or void its draft.",
        ),
    ),
    "advance_too_large": _kind(
        409,
        ("预拨超过应付", "该企业此期间现应付金额已低于本笔预拨，请作废本单，按现额重新编制。"),
        (
            "More than is due",
            "Less is due in that period by now than this advance: void it and draft another.",
        ),
    ),
    "retailer_suspended": _kind(
        409,
        ("企业已暂停", "该企业已被暂停，暂不审核其结算；待恢复后再审核，或作废草稿。"),
        (
            "The retailer is suspended",
            "Nothing is approved for a suspended retailer: wait until it is resumed, or void it.",
        ),
    ),
    "same_key": _kind(
        409,
        ("须由他人审核", "编制结算单的密钥不得审核本单，请用另一把财政密钥审核。"),
        ("Another key must approve", "The key that drafted it may not approve it: use another."),
    ),
    "reconciliations_running": _kind(
        429,
        ("对账任务已满", "已有对账任务正在运行，请待其完成后再提交。"),
        (
            "Reconciliations are running",
            "As many reconciliations are running as may: send the file again when one is done.",
        ),
        retry_after_s=10,
    ),
    "file_expected": _kind(
        415,
        (
            "请直接发送文件",
            "请将 csv 或 xlsx 文件本身作为请求体发送（curl --data-binary @文件），不用表单。",
        ),
        (
            "Send the file itself",
            "The body must be the csv or xlsx file itself (curl --data-binary @file), no form.",
        ),
    ),
    "body_too_large": _kind(
        413,
        ("请求过大", "请求超过大小上限，请分成几次发送。"),
        ("Body too large", "The request is larger than allowed: send less at a time."),
    ),
    "not_http": _kind(
        400,
        (
            "不是有效的 HTTP 请求",
            "收到的内容不是有效的 HTTP 请求，请检查请求头（如 Idempotency-Key）中有无控制字符，"
            "以及收银系统的网络设置。",
        ),
        (
            "Not HTTP",
            "What came is no valid HTTP request: look for a control character in a header, "
            "Idempotency-Key for one, and check the till's connection.",
        ),
    ),
    "too_slow": _kind(
        408,
        ("请求超时", "请求未在规定时间内发送完毕，请检查网络后用同一幂等键重试。"),
        (
            "Too slow",
            "The request was not sent whole in time: check the network and retry with the same "
            "key.",
        ),
        retry_after_s=1,
    ),
    "too_many_requests": _kind(
        429,
        ("请求过于频繁", "此密钥的请求超过限额，请按 Retry-After 的秒数等待后用同一幂等键重试。"),
        (
            "Too many requests",
            "This key sends more than its limit: wait as many seconds as Retry-After says, and "
            "retry with the same key.",
        ),
        retry_after_s=1,
    ),
    "head_too_large": _kind(
        431,
        ("请求头过大", "请求头超过 32 KiB，请检查收银系统或代理服务器附加的请求头。"),
        (
            "Request header too large",
            "The request's header is over 32 KiB: check what the till or a proxy adds to it.",
        ),
    ),
    "invalid_field": _kind(
        422,
        ("字段无效", "请按提示修改字段后重新提交。"),
        ("Invalid field", "Correct the fields named and send the request again."),
    ),
    "invoice_total_differs": _kind(
        422,
        (
            "发票金额不符",
            "发票金额为 {total} 元，应为 {due} 元（顾客实付 {paid} 元加补贴 {subsidy} 元），"
            "请核对发票。",
        ),
        (
            "Invoice total differs",
            "The invoice says {total} yuan and should say {due}: {paid} paid by the customer "
            "plus {subsidy} of subsidy. Check the invoice.",
        ),
    ),
    "too_many_rows": _kind(
        422,
        (
            "行数过多",
            "电子表格最多容纳 1,048,575 行，请缩短期间或增加筛选条件，"
            "或改用 csv、ndjson 或 parquet。",
        ),
        (
            "Too many rows",
            "A sheet holds 1,048,575 rows: ask for a shorter period or a narrower filter, or take "
            "csv, ndjson or parquet.",
        ),
    ),
    "bad_file": _kind(
        422,
        ("文件无法使用", "文件无法使用，请检查后重新提交。"),
        ("The file cannot be used", "The file cannot be used: check it and send it again."),
    ),
    "unsupported_encoding": _kind(
        415,
        (
            "不支持的压缩方式",
            "此接口不接受该 Content-Encoding；请不压缩发送（对账文件可用 gzip）。",
        ),
        (
            "Unsupported encoding",
            "This call does not take that Content-Encoding: send the body as it is. A file to "
            "reconcile may be compressed with gzip.",
        ),
    ),
    "idempotency_key_reused": _kind(
        422,
        (
            "幂等键已被使用",
            "该 Idempotency-Key 已用于内容不同的另一笔请求；新的销售请换新键，重试请保持内容不变。",
        ),
        (
            "Idempotency key reused",
            "This Idempotency-Key came before with another body: take a new key for a new "
            "sale, and repeat the same body on a retry.",
        ),
    ),
    "internal_error": _kind(
        500,
        ("系统错误", "系统内部出错，请稍后用同一幂等键重试；如仍失败，请提供 request_id 报修。"),
        (
            "Internal error",
            "Something broke on our side: retry later with the same key, and report the "
            "request_id if it stays.",
        ),
        retry_after_s=5,
    ),
    "overloaded": _kind(
        503,
        ("系统繁忙", "系统繁忙，本次未作任何处理，请稍后用同一幂等键重试。"),
        ("Overloaded", "Too busy just now; nothing was kept. Retry in a moment with the same key."),
        retry_after_s=1,
    ),
    "ledger_unavailable": _kind(
        503,
        ("账本暂不可用", "账本数据库暂时无法访问，请稍后用同一幂等键重试，不会重复补贴。"),
        (
            "Ledger unavailable",
            "The ledger cannot be reached. Retry in a moment with the same key: "
            "nothing is paid twice.",
        ),
        retry_after_s=2,
    ),
    "standby_behind": _kind(
        503,
        (
            "备库滞后",
            "用于导出的备库落后于账本，或不是账本的备库；请稍后重试，如仍失败请联系管理员。",
        ),
        (
            "The standby is behind",
            "The database that exports are read from is too far behind the ledger, or is not its "
            "standby. Retry in a moment; if it stays, tell the operator.",
        ),
        retry_after_s=5,
    ),
    "gate_unavailable": _kind(
        503,
        ("预算闸口暂不可用", "预算计数服务暂时无法访问，请稍后用同一幂等键重试。"),
        ("Gate unavailable", "The budget gate cannot be reached. Retry with the same key."),
        retry_after_s=2,
    ),
}
