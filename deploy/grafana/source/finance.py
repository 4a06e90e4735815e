"""Finance: granted, refunded and net by day, and claims that cannot be settled yet."""

from deploy.grafana.source.budget import day_net
from deploy.grafana.source.money import wan, wan_unit, yuan, yuan_unit
from deploy.grafana.source.panels import Panel, Query
from deploy.grafana.source.words import Language, Words

TITLE = Words("资金结算（财政局）", "Finance")
ABOUT = Words(
    "发放、退回、净额与未开票。对账请以导出文件及其合计为准。",
    "Granted, refunded, net and not yet invoiced. Reconcile with the export and its totals.",
)

AGES = ("week", "month", "older")


def day(kind: str, when: str) -> str:
    return f'sum(max by (pool) (butie_day_fen{{day="{when}", kind="{kind}"}}))'


def day_gross(kind: str) -> str:
    """The sum of all pools on each business day, in fen; evaluated like `day_net`."""
    return (
        f"sum(max by (pool) (last_over_time("
        f'butie_day_fen{{day="yesterday", kind="{kind}"}}[1d] offset -2d))) or '
        f"sum(max by (pool) (last_over_time("
        f'butie_day_fen{{day="today", kind="{kind}"}}[1d] offset -1d)))'
    )


def total(kind: str, metric: str = "butie_journal_fen_total") -> str:
    return f'sum(max by (pool, category) ({metric}{{kind="{kind}"}}))'


def by_age(metric: str, age: str) -> str:
    return f'max by (age) ({metric}{{age="{age}"}})'


def panels(language: Language) -> list[Panel]:
    def word(zh: str, en: str) -> str:
        return Words(zh, en).of(language)

    exact = yuan_unit(language)
    granted, refunded, net = (
        word("发放", "granted"),
        word("退回", "refunded"),
        word("净额", "net"),
    )
    return [
        Panel(
            "stat",
            Words("今天（营业日）", "Today (business day)"),
            Words(
                "已记账，精确到分；零时半关账。",
                "Booked, exact to the fen. The day closes at 00:30.",
            ),
            [
                Query(yuan(day("grant", "today")), granted),
                Query(yuan(day("refund", "today")), refunded),
                Query(yuan(f"{day('grant', 'today')} - {day('refund', 'today')}"), net),
            ],
            exact,
            12,
            decimals=2,
        ),
        Panel(
            "stat",
            Words(
                "昨天（营业日）：应与导出合计一致",
                "Yesterday (business day): must equal the export's totals",
            ),
            Words(
                "不一致请运行 butie journal verify。", "If it does not, run butie journal verify."
            ),
            [
                Query(yuan(day("grant", "yesterday")), granted),
                Query(yuan(day("refund", "yesterday")), refunded),
                Query(yuan(f"{day('grant', 'yesterday')} - {day('refund', 'yesterday')}"), net),
            ],
            exact,
            12,
            decimals=2,
        ),
        Panel(
            "columns",
            Words("每天发放与退回（营业日）", "Granted and refunded a day (business days)"),
            Words("退回画在零线以下。", "Refunds are below the zero line."),
            [
                Query(wan(day_gross("grant"), language), granted),
                Query(f"-1 * {wan(day_gross('refund'), language)}", refunded),
            ],
            Words("suffix: 万元/天", "currencyCNY").of(language),
            12,
            decimals=2,
            interval="1d",
        ),
        Panel(
            "columns",
            Words("每天净额，按资金池（营业日）", "Net a day, by pool (business days)"),
            Words("发放减退回。", "Granted less refunded."),
            [Query(wan(day_net("pool"), language), "{{pool}}")],
            Words("suffix: 万元/天", "currencyCNY").of(language),
            12,
            decimals=2,
            interval="1d",
            stacked=True,
        ),
        Panel(
            "stat",
            Words("累计：发放、退回、净额", "In all: granted, refunded, net"),
            Words("自启用以来，取自分录。", "All entries since the first day."),
            [
                Query(wan(total("grant"), language), granted),
                Query(wan(f"{total('refund')} or vector(0)", language), refunded),
                Query(wan(f"{total('grant')} - ({total('refund')} or vector(0))", language), net),
            ],
            wan_unit(language),
            12,
            decimals=2,
        ),
        Panel(
            "stat",
            Words("分录数与退货笔数", "Entries and refunds"),
            Words(
                "累计发放分录；退货为最近 24 小时。",
                "All entries of grants; refunds of the last 24 hours.",
            ),
            [
                Query(total("grant", "butie_journal_entries_total"), word("发放分录", "grants")),
                Query(
                    "sum(increase(butie_refunds_total[1d]))", word("24 小时退货", "refunds, 24 h")
                ),
            ],
            Words("suffix: 笔", "short").of(language),
            12,
            decimals=0,
        ),
        Panel(
            "bars",
            Words(
                "未开票金额，按天数：超过 30 天请催企业",
                "Not invoiced, by age: over 30 days call the retailer",
            ),
            Words("没有发票的补贴不能结算。", "A claim without an invoice cannot be settled."),
            [Query(wan(by_age("butie_uninvoiced_fen", age), language), "{{age}}") for age in AGES],
            wan_unit(language),
            12,
            decimals=2,
            low=0,
            steps=((None, "orange"),),
        ),
        Panel(
            "bars",
            Words("未开票笔数，按天数", "Claims not invoiced, by age"),
            Words(
                "已确认、未全退、没有发票。",
                "Confirmed claims that are not fully refunded and have no invoice.",
            ),
            [Query(by_age("butie_uninvoiced_claims", age), "{{age}}") for age in AGES],
            Words("suffix: 笔", "short").of(language),
            12,
            decimals=0,
            low=0,
            steps=((None, "orange"),),
        ),
        Panel(
            "bars",
            Words(
                "最近 24 小时新批金额，按品类（前 12）",
                "Newly granted or held, 24 hours, by category (top 12)",
            ),
            Words("含尚未确认的预留。", "With holds that are not confirmed yet."),
            [
                Query(
                    wan(
                        "sort_desc(topk(12, sum by (category) "
                        "(increase(butie_claim_lines_fen_total[1d])) > 0))",
                        language,
                    ),
                    "{{category}}",
                )
            ],
            wan_unit(language),
            12,
            decimals=2,
            low=0,
        ),
        Panel(
            "bars",
            Words("最近 24 小时导出：失败请重做", "Exports, 24 hours: repeat those that failed"),
            Words("断开的导出可从断点继续。", "An interrupted export can be continued."),
            [Query("sum by (outcome) (increase(butie_exports_total[1d]))", "{{outcome}}")],
            Words("suffix: 次", "short").of(language),
            12,
            decimals=0,
            low=0,
        ),
    ]
