"""Service, for the operator: rates, errors, latency and its targets, gate and ledger."""

from deploy.grafana.source.panels import Panel, Query
from deploy.grafana.source.words import Language, Words

TITLE = Words("服务运行（运维）", "Service (operator)")
ABOUT = Words(
    "请求、错误、时延与目标、闸口（Redis）和账本（PostgreSQL）。",
    "Rates, errors, latency against its targets, gate (Redis) and ledger (PostgreSQL).",
)

# Requests of monitoring and wall screens are left out: they say nothing about the tills.
ASKED = 'butie_http_request_seconds_count{route!~"/healthz|/readyz|/metrics|/board.*"}'
FAILED = (
    'butie_http_request_seconds_count{route!~"/healthz|/readyz|/metrics|/board.*", status=~"5.."}'
)
RATE = "$__rate_interval"
GREEN = ((None, "red"), (1.0, "green"))
AT_ZERO = ((None, "green"), (0.5, "red"))


def quantile(q: float, metric: str, by: str, where: str = "") -> str:
    return f"histogram_quantile({q}, sum by ({by}, le) (rate({metric}_bucket{where}[{RATE}])))"


def average(metric: str) -> str:
    """The mean of a histogram's observations; no value while there are none."""
    return f"sum(rate({metric}_sum[{RATE}])) / (sum(rate({metric}_count[{RATE}])) > 0)"


def panels(language: Language) -> list[Panel]:
    return [*_state(language), *_tills(language), *_gate_and_ledger(language), *_care(language)]


def _state(language: Language) -> list[Panel]:
    def word(zh: str, en: str) -> str:
        return Words(zh, en).of(language)

    yes_no = (("0..0.5", Words("断开", "away")), ("0.5..2", Words("正常", "up")))
    return [
        Panel(
            "stat",
            Words(
                "账本与闸口：断开请按手册处理", "Ledger and gate: if one is away, see the runbook"
            ),
            Words("账本是 PostgreSQL，闸口是 Redis。", "PostgreSQL and Redis."),
            [
                Query("min(butie_ledger_up)", word("账本", "ledger")),
                Query("min(butie_gate_up)", word("闸口", "gate")),
            ],
            "bool_yes_no",
            5,
            steps=GREEN,
            texts=yes_no,
        ),
        Panel(
            "stat",
            Words("闸口工作方式", "How claims are decided"),
            Words(
                "只应显示“正常”。绕过时慢一些，账目仍然正确。",
                "This should show only guarding. While bypassed, claims are slower but correct.",
            ),
            [Query("max by (mode) (butie_gate_mode) > 0", "{{mode}}")],
            "bool_on_off",
            5,
            texts=(("0.5..2", Words("是", "now")),),
        ),
        Panel(
            "stat",
            Words(
                "成功率：低于目标请看错误图",
                "Answers without a 5xx: below the target, see the errors",
            ),
            Words("最近一小时；目标写在旁边。", "The last hour, with its target."),
            [
                Query(
                    f"1 - (sum(rate({FAILED}[1h])) or vector(0)) / sum(rate({ASKED}[1h]))",
                    word("实际", "reached"),
                ),
                Query("max(butie_slo_availability_goal_ratio)", word("目标", "target")),
            ],
            "percentunit",
            6,
            decimals=2,
            steps=((None, "red"), (0.99, "orange"), (0.999, "green")),
        ),
        Panel(
            "stat",
            Words(
                "账目核对：不是 0 请立即停发排查", "Audit breaches: if not 0, stop granting at once"
            ),
            Words(
                "最近一次 butie audit 发现的问题数。", "The breaches that the newest audit found."
            ),
            [
                Query("sum(max by (invariant) (butie_audit_breaches))", word("问题", "breaches")),
            ],
            "short",
            4,
            decimals=0,
            steps=AT_ZERO,
            texts=(("empty", Words("还没核对过", "never audited")),),
        ),
        Panel(
            "stat",
            Words("距上次核对：每天一次", "Last audit: run one a day"),
            Words("butie audit 每天至少一次。", "Run butie audit at least once a day."),
            [
                Query(
                    "max(butie_business_time_seconds)"
                    " - max(butie_audit_finished_timestamp_seconds)",
                    word("已过", "ago"),
                )
            ],
            "s",
            4,
            decimals=0,
            steps=((None, "green"), (86_400, "orange")),
            texts=(("empty", Words("还没核对过", "never audited")),),
        ),
    ]


def _tills(language: Language) -> list[Panel]:
    claims = '{method="POST", route="/v1/claims"}'
    in_time = " or ".join(
        "sum by (method, route) (rate(butie_http_request_seconds_bucket"
        f'{{method="POST", route=~"{routes}", le="{within}"}}[1h]))'
        for within, routes in (
            ("0.25", "/v1/claims|/v1/quotes|/v1/claims/{claim_id}/confirm"),
            ("0.5", "/v1/claims/{claim_id}/refunds"),
            ("2.5", "/v1/claims/batch"),
        )
    )
    return [
        Panel(
            "lines",
            Words("每秒请求，按状态码", "Requests a second, by status"),
            Words(
                "5xx 上升看下一行；4xx 上升多为门店软件问题。",
                "If 5xx rise, see the next row. 4xx mostly come from the tills' software.",
            ),
            [Query(f"sum by (status) (rate({ASKED}[{RATE}]))", "{{status}}")],
            "reqps",
            12,
            low=0,
            stacked=True,
        ),
        Panel(
            "lines",
            Words(
                "申领时延与目标线：99 % 应在线下",
                "Latency of a claim: 99 % must be below the target",
            ),
            Words(
                "单笔申领从请求头到应答结束。",
                "From the head of the request to the end of the answer.",
            ),
            [
                Query(quantile(0.5, "butie_http_request_seconds", "route", claims), "50 %"),
                Query(quantile(0.99, "butie_http_request_seconds", "route", claims), "99 %"),
                Query(
                    f"max(butie_slo_latency_seconds{claims})",
                    Words("目标", "target").of(language),
                ),
            ],
            "s",
            12,
            low=0,
        ),
        Panel(
            "bars",
            Words("按时应答的比例：99 % 以下为红", "Answered in time: red below 99 %"),
            Words(
                "最近一小时，各接口自己的时限。", "The last hour; each route has its own target."
            ),
            [
                Query(
                    f"({in_time}) / (sum by (method, route) "
                    "(rate(butie_http_request_seconds_count[1h])) > 0)",
                    "{{route}}",
                )
            ],
            "percentunit",
            12,
            decimals=2,
            low=0.9,
            high=1,
            steps=((None, "red"), (0.99, "green")),
        ),
        Panel(
            "lines",
            Words(
                "时延预算消耗倍数：14 倍一小时内要处理",
                "Burn rate of the latency budget: at 14 act within the hour",
            ),
            Words(
                "允许不按时的比例为 1 倍；持续 1 倍刚好用完。",
                "A burn rate of 1 uses up exactly the allowed share of slow answers.",
            ),
            [
                Query(
                    f"(1 - ({in_time}) / (sum by (method, route) "
                    "(rate(butie_http_request_seconds_count[1h])) > 0))"
                    " / on (method, route) group_left ()"
                    " (1 - max by (method, route) (butie_slo_latency_goal_ratio))",
                    "{{route}}",
                )
            ],
            "suffix: ×",
            12,
            decimals=1,
            low=0,
        ),
        Panel(
            "lines",
            Words("每秒申领，按结果", "Claims a second, by outcome"),
            Words(
                "拒绝突增看预算看板的原因。",
                "When refusals jump, see their reasons on the dashboard Budget burn.",
            ),
            [Query(f"sum by (outcome) (rate(butie_claims_total[{RATE}]))", "{{outcome}}")],
            "reqps",
            12,
            low=0,
            stacked=True,
        ),
        Panel(
            "lines",
            Words("每分钟商品行，按结果", "Lines a minute, by outcome"),
            Words(
                "“因无预算被拒”大于 0：资金池空了。",
                "Lines refused for want of money mean that a pool is empty.",
            ),
            [
                Query(
                    f"sum by (outcome) (rate(butie_claim_lines_total[{RATE}])) * 60", "{{outcome}}"
                )
            ],
            Words("suffix: 行/分", "suffix: /min").of(language),
            12,
            low=0,
        ),
    ]


def _gate_and_ledger(language: Language) -> list[Panel]:
    def word(zh: str, en: str) -> str:
        return Words(zh, en).of(language)

    return [
        Panel(
            "lines",
            Words(
                "闸口调用 99 %：超过 50 毫秒请查 Redis",
                "Gate calls, 99 %: above 50 ms check Redis",
            ),
            Words("一次调用带许多申领。", "A call carries many claims."),
            [Query(quantile(0.99, "butie_gate_seconds", "call"), "{{call}}")],
            "s",
            12,
            low=0,
        ),
        Panel(
            "lines",
            Words(
                "账本调用 99 %：超过 100 毫秒请查磁盘",
                "Ledger calls, 99 %: above 100 ms check the disk",
            ),
            Words("到落盘为止。", "The time until the commit is durable."),
            [Query(quantile(0.99, "butie_ledger_seconds", "call"), "{{call}}")],
            "s",
            12,
            low=0,
        ),
        Panel(
            "lines",
            Words("每批多少单：接近 64 说明已满载", "Claims per batch: 64 is the limit"),
            Words("忙时自动成批。", "Batches grow with the load."),
            [
                Query(average("butie_gate_batch_claims"), word("闸口", "gate")),
                Query(average("butie_ledger_batch_claims"), word("账本", "ledger")),
            ],
            Words("suffix: 单", "suffix: claims").of(language),
            12,
            low=0,
        ),
        Panel(
            "lines",
            Words("排队：持续不为 0 请加工作进程", "Queues: if long not 0, add workers"),
            Words("等下一趟的请求数。", "Items that wait for the next batch."),
            [Query("sum by (queue) (butie_queue_items)", "{{queue}}")],
            Words("suffix: 个", "short").of(language),
            12,
            low=0,
        ),
        Panel(
            "lines",
            Words("闸口与账本差额：不为 0 请核对", "Gate minus ledger: if not 0, run an audit"),
            Words(
                "只在两边都静止时比较；账目以账本为准。",
                "Compared while no claim is in flight. The ledger's balance is the right one.",
            ),
            [Query("max by (pool) (butie_gate_drift_fen) / 100", "{{pool}}")],
            Words("suffix: 元", "suffix: yuan").of(language),
            12,
        ),
        Panel(
            "lines",
            Words(
                "在途与过期准入：过期应马上回到 0",
                "Admissions in flight and overdue: overdue must return to 0 at once",
            ),
            Words("过期由清扫任务处理。", "The sweeper resolves overdue admissions."),
            [
                Query("max(butie_admissions_in_flight)", word("在途", "in flight")),
                Query("max(butie_admissions_overdue)", word("过期", "overdue")),
                Query(
                    "sum(increase(butie_admissions_released_total[10m])) or vector(0)",
                    word("十分钟内清理", "resolved in 10 min"),
                ),
            ],
            Words("suffix: 个", "short").of(language),
            12,
            low=0,
        ),
    ]


def _care(language: Language) -> list[Panel]:
    def word(zh: str, en: str) -> str:
        return Words(zh, en).of(language)

    return [
        Panel(
            "stat",
            Words(
                "一小时内绕过闸口的申领：大于 0 请查 Redis",
                "Claims past the gate, 1 h: above 0 check Redis",
            ),
            Words("账目不受影响，只是慢。", "Such claims are slower but correct."),
            [Query("sum(increase(butie_gate_bypassed_total[1h]))", word("绕过", "bypassed"))],
            Words("suffix: 单", "short").of(language),
            6,
            decimals=0,
            steps=AT_ZERO,
        ),
        Panel(
            "stat",
            Words(
                "一小时内限流：大于 0 请联系该企业",
                "Refused by the rate limit, 1 h: above 0 call the retailer",
            ),
            Words(
                "“未计数”表示 Redis 当时不可用。",
                "Uncounted requests passed while Redis was away.",
            ),
            [
                Query("sum(increase(butie_rate_limited_total[1h]))", word("限流", "refused")),
                Query("sum(increase(butie_rate_uncounted_total[1h]))", word("未计数", "uncounted")),
            ],
            Words("suffix: 次", "short").of(language),
            6,
            decimals=0,
            steps=((None, "green"), (1, "yellow")),
        ),
        Panel(
            "stat",
            Words("预留：现有与一小时内结束", "Holds: open, and ended in the last hour"),
            Words("过期多说明收银没有确认。", "If many expire, tills do not confirm."),
            [
                Query("max(butie_holds)", word("现有", "open")),
                Query("sum by (how) (increase(butie_holds_ended_total[1h]))", "{{how}}"),
            ],
            Words("suffix: 单", "short").of(language),
            6,
            decimals=0,
        ),
        Panel(
            "stat",
            Words(
                "看板还没合计的分录：持续增长请查账本",
                "Entries that the sums lack: if growing, check the ledger",
            ),
            Words("看板的累计数取自合计表。", "The dashboards' totals come from running sums."),
            [
                Query("max(butie_journal_unsummed_entries)", word("分录", "entries")),
                Query("max(butie_sales_unsummed_entries)", word("销售额", "sales")),
            ],
            Words("suffix: 条", "short").of(language),
            6,
            decimals=0,
            steps=((None, "green"), (100_000, "orange")),
        ),
    ]
