"""Budget burn, for the bureau's wall: what is left, the burn, the projected end."""

from deploy.grafana.source.money import wan, wan_unit
from deploy.grafana.source.panels import Panel, Query
from deploy.grafana.source.words import Language, Words

TITLE = Words("预算消耗（商务局）", "Budget burn (commerce bureau)")
ABOUT = Words(
    "各资金池还剩多少、用得多快、预计哪天用完。金额取自账本。",
    "What is left of each pool, its burn, and when it will run out. Amounts are the ledger's.",
)

# Several hosts show the same ledger, so a query takes the largest reading, never the sum.
POOL = 'max by (pool) (butie_pool_fen{part="%s"})'
SPENT = f"({POOL % 'confirmed'} + {POOL % 'reserved'})"
ALLOCATED = f"({POOL % 'allocated'} > 0)"
YEAR = "scalar(max(butie_year_elapsed_ratio))"
NET_TODAY = (
    'max by (pool) (butie_day_fen{day="today", kind="grant"})'
    ' - max by (pool) (butie_day_fen{day="today", kind="refund"})'
)
# The counters of all hosts are the same ledger's, so a query takes the growth by host, then the
# largest.
GROWTH = (
    'max by (pool) (sum by (pool, instance) (increase(butie_journal_fen_total{kind="grant"}[%s])))'
)
SALES_TODAY = (
    'sum(max by (pool) (butie_day_sales_fen{day="today", kind="grant"}))'
    ' - sum(max by (pool) (butie_day_sales_fen{day="today", kind="refund"}))'
)
# +Inf means "not before the policy's end". Grafana shows no infinite date: a far one replaces it.
NEVER = 9e9
FORECAST = (
    'clamp_max(max by (pool) (butie_forecast_exhausted_timestamp_seconds{quantile="%s"}), 9e9)'
)
DAYS_LEFT = f"({FORECAST % '0.5'} - scalar(max(butie_business_time_seconds))) / 86400"
NOT_THIS_YEAR = Words("年内用不完", "not this year")
TOO_EARLY = Words("数据还不够", "too early to tell")
DATES = (("8.9e12..9.1e12", NOT_THIS_YEAR), ("nan", TOO_EARLY), ("empty", TOO_EARLY))


def panels(language: Language) -> list[Panel]:
    money = wan_unit(language)
    return [
        Panel(
            "stat",
            Words(
                "还剩多少：低于 20 % 请准备下一批资金", "Left: below 20 % prepare the next money"
            ),
            Words(
                "各资金池余额＝安排－已确认－已预留。颜色请看右边的百分比。",
                "Allocated less confirmed less reserved, by pool. See the percentages as well.",
            ),
            [Query(wan(POOL % "remaining", language), "{{pool}}")],
            money,
            16,
            decimals=1,
        ),
        Panel(
            "stat",
            Words("今天净发放合计", "Granted today, less refunds, all pools"),
            Words("今天（营业日）已记账的发放减退回。", "Booked on the business day of today."),
            [Query(wan(f"sum({NET_TODAY})", language), Words("今天", "today").of(language))],
            money,
            4,
            decimals=1,
        ),
        Panel(
            "stat",
            Words(
                "每分钟几单：归零请查网络",
                "Claims a minute: at 0 check the network",
            ),
            Words("最近五分钟平均，只计发放。", "Granted claims; the average of five minutes."),
            [
                Query(
                    'sum(rate(butie_claims_total{outcome="granted"}[5m])) * 60',
                    Words("单/分钟", "a minute").of(language),
                )
            ],
            Words("suffix: 单/分", "suffix: /min").of(language),
            4,
            decimals=1,
        ),
        Panel(
            "bars",
            Words(
                "已用百分比：80 % 黄，95 % 橙，用完红", "Spent: 80 % yellow, 95 % orange, 100 % red"
            ),
            Words(
                "已确认加已预留，占安排的比例。到 95 % 请决定追加还是公告停止。",
                "Confirmed and reserved, as a share of allocated. At 95 % decide whether to add "
                "money or to announce the end.",
            ),
            [Query(f"{SPENT} / {ALLOCATED}", "{{pool}}")],
            "percentunit",
            8,
            decimals=1,
            low=0,
            high=1,
            steps=((None, "green"), (0.8, "yellow"), (0.95, "orange"), (0.999, "red")),
        ),
        Panel(
            "stat",
            Words(
                "预计还能用几天（中位数）：少于 7 天要定对策",
                "Days left (median): under 7 decide what to do",
            ),
            Words(
                "按工作日规律、已知的后续资金推算；范围见右表。",
                "Projected from the weekdays' pattern and the planned tranches. The table has the "
                "range.",
            ),
            [Query(DAYS_LEFT, "{{pool}}")],
            Words("suffix: 天", "suffix: days").of(language),
            16,
            decimals=0,
            steps=((None, "red"), (1, "orange"), (7, "yellow"), (30, "green")),
            texts=(("36500..1e9", NOT_THIS_YEAR), ("nan", TOO_EARLY), ("empty", TOO_EARLY)),
        ),
        Panel(
            "table",
            Words(
                "预计用完日期：八成把握落在最早与最晚之间",
                "Day each pool runs out: 80 % sure between earliest and latest",
            ),
            Words(
                "三列是 10 %、50 %、90 % 分位。",
                "The 10, 50 and 90 % quantiles.",
            ),
            [
                Query(f"{FORECAST % '0.1'} * 1000", Words("最早", "earliest").of(language)),
                Query(f"{FORECAST % '0.5'} * 1000", Words("中位数", "median").of(language)),
                Query(f"{FORECAST % '0.9'} * 1000", Words("最晚", "latest").of(language)),
            ],
            "time:YYYY-MM-DD",
            16,
            texts=DATES,
        ),
        Panel(
            "bars",
            Words(
                "比全年匀速快多少：正数为超前，过 10 % 请关注",
                "Ahead of an even year: above 10 % find out why",
            ),
            Words(
                "已用比例减去今年已过的比例。",
                "The share that is spent, less the share of the year that has passed.",
            ),
            [Query(f"{SPENT} / {ALLOCATED} - {YEAR}", "{{pool}}")],
            "percentunit",
            8,
            decimals=1,
            low=-1,
            high=1,
            steps=((None, "blue"), (0, "green"), (0.1, "orange"), (0.25, "red")),
        ),
        Panel(
            "lines",
            Words("累计使用与全年匀速线", "Spent so far against a straight line to year's end"),
            Words(
                "高于匀速线说明照此下去年底前会用完。",
                "Above the line, the money will run out before the end of the year.",
            ),
            [
                Query(wan(f"sum({SPENT})", language), Words("已用", "spent").of(language)),
                Query(
                    wan(f"sum({POOL % 'allocated'}) * {YEAR}", language),
                    Words("匀速线", "straight line").of(language),
                ),
                Query(
                    wan(f"sum({POOL % 'allocated'})", language),
                    Words("安排合计", "allocated").of(language),
                ),
            ],
            money,
            16,
            decimals=1,
            low=0,
        ),
        Panel(
            "bars",
            Words(
                "今天与平日：今天已超平日请查原因",
                "Today against a usual day: above 100 % find out why",
            ),
            Words(
                "每个资金池今天的净发放，占平日一天的比例。",
                "Today's net, as a share of the usual day that the forecast uses.",
            ),
            [
                Query(
                    f"({NET_TODAY}) / (max by (pool) (butie_forecast_daily_fen) > 0)",
                    "{{pool}}",
                )
            ],
            "percentunit",
            8,
            decimals=0,
            low=0,
            high=3,
            steps=((None, "green"), (1.5, "yellow"), (3, "red")),
            texts=(("empty", TOO_EARLY),),
        ),
        Panel(
            "lines",
            Words("每小时发放，按资金池", "Granted an hour, by pool"),
            Words(
                "过去一小时；突然变成平时三倍会告警。",
                "The last hour. Three times the usual rate raises an alarm.",
            ),
            [Query(wan(GROWTH % "1h", language), "{{pool}}")],
            Words("suffix: 万元/时", "currencyCNY").of(language),
            12,
            decimals=1,
            low=0,
            stacked=True,
        ),
        Panel(
            "columns",
            Words("每天净发放，按资金池（营业日）", "Net granted a day, by pool (business days)"),
            Words(
                "一格一天，取自账本，与导出一致。",
                "A column a day, from the ledger; equal to the export.",
            ),
            [Query(wan(day_net("pool"), language), "{{pool}}")],
            Words("suffix: 万元/天", "currencyCNY").of(language),
            12,
            decimals=1,
            low=0,
            interval="1d",
            stacked=True,
        ),
        Panel(
            "bars",
            Words("按品类累计发放（前 12）", "Granted so far, by category (top 12)"),
            Words("未扣退回。", "Refunds are not deducted."),
            [
                Query(
                    wan(
                        "sort_desc(topk(12, max by (category) "
                        '(butie_journal_fen_total{kind="grant"})))',
                        language,
                    ),
                    "{{category}}",
                )
            ],
            money,
            12,
            decimals=1,
            low=0,
        ),
        Panel(
            "bars",
            Words("按镇（街道）累计发放", "Granted so far, by town"),
            Words(
                "按门店备案的镇或街道；“未填写”请补备案。",
                "By the store's enrolled town. Enrol the town of stores that show as not stated.",
            ),
            [
                Query(
                    wan('sort_desc(max by (town) (butie_town_fen_total{kind="grant"}))', language),
                    "{{town}}",
                )
            ],
            money,
            12,
            decimals=1,
            low=0,
        ),
        Panel(
            "bars",
            Words(
                "最近 24 小时为什么拒绝：某一条突增请通知门店",
                "Reasons of refusals, 24 hours: inform the shops when one jumps",
            ),
            Words("一单可有几条原因。", "A claim may have several reasons."),
            [
                Query(
                    "sort_desc(sum by (code) (increase(butie_refusals_total[1d])) > 0)", "{{code}}"
                )
            ],
            Words("suffix: 次", "short").of(language),
            12,
            decimals=0,
            low=0,
            steps=((None, "purple"),),
        ),
        Panel(
            "stat",
            Words(
                "待投放资金：没有而余额将尽，请申请",
                "Tranches to come: if none and money is short, ask for one",
            ),
            Words("已计划、尚未开放的后续资金。", "Planned tranches that are not open yet."),
            [Query(wan("max by (pool) (butie_tranche_fen)", language), "{{pool}}")],
            money,
            6,
            decimals=1,
            texts=(("empty", Words("没有计划", "none planned")),),
        ),
        Panel(
            "stat",
            Words("下一批资金开放日", "Next tranche opens on"),
            Words("到时自动开放，门店无须操作。", "It opens automatically."),
            [Query("max by (pool) (butie_tranche_next_timestamp_seconds) * 1000", "{{pool}}")],
            "time:YYYY-MM-DD",
            6,
            texts=(("empty", Words("没有计划", "none planned")),),
        ),
        *_sales_panels(language),
    ]


def _sales_panels(language: Language) -> list[Panel]:
    """The sales that the subsidy drove."""
    money = wan_unit(language)
    sales = net("butie_sales_fen_total", "pool, category")
    subsidy = net("butie_journal_fen_total", "pool, category")
    by_town = net("butie_town_sales_fen_total", "town")
    return [
        Panel(
            "stat",
            Words("带动销售额（已扣退货）", "Sales driven, less refunds"),
            Words(
                "享受补贴的商品售价（补贴前），扣除已退货的。",
                "What the granted lines were sold for before the subsidy, less the refunded ones.",
            ),
            [
                Query(wan(f"sum({sales})", language), Words("累计", "so far").of(language)),
                Query(wan(SALES_TODAY, language), Words("今天", "today").of(language)),
            ],
            money,
            8,
            decimals=1,
        ),
        Panel(
            "stat",
            Words("一元补贴带动几元销售", "Yuan of sales for a yuan of subsidy"),
            Words("累计带动销售额除以累计净发放。", "Sales so far over net granted so far."),
            [Query(f"sum({sales}) / sum({subsidy})", Words("比值", "ratio").of(language))],
            Words("suffix: 元", "short").of(language),
            4,
            decimals=2,
        ),
        Panel(
            "columns",
            Words(
                "每天带动销售额，按资金池（营业日）",
                "Sales driven a day, by pool (business days)",
            ),
            Words(
                "一格一天，与导出（sales=true）一致。",
                "A column a day; equal to the export with sales=true.",
            ),
            [Query(wan(day_net("pool", "butie_day_sales_fen"), language), "{{pool}}")],
            Words("suffix: 万元/天", "currencyCNY").of(language),
            12,
            decimals=1,
            low=0,
            interval="1d",
            stacked=True,
        ),
        Panel(
            "bars",
            Words("按品类累计带动销售额（前 12）", "Sales driven so far, by category (top 12)"),
            Words("已扣退货。", "Refunds are deducted."),
            [
                Query(
                    wan(f"sort_desc(topk(12, sum by (category) ({sales})))", language),
                    "{{category}}",
                )
            ],
            money,
            12,
            decimals=1,
            low=0,
        ),
        Panel(
            "bars",
            Words("按镇（街道）累计带动销售额", "Sales driven so far, by town"),
            Words(
                "已扣退货；按门店备案的镇或街道。",
                "Refunds are deducted. By the store's enrolled town.",
            ),
            [Query(wan(f"sort_desc({by_town})", language), "{{town}}")],
            money,
            12,
            decimals=1,
            low=0,
        ),
    ]


def net(metric: str, by: str) -> str:
    """Granted less refunded so far, in fen, by the labels `by`. Without a refund so far there is no
    series of refunds."""
    granted, refunded = (
        f'max by ({by}) ({metric}{{kind="{kind}"}})' for kind in ("grant", "refund")
    )
    return f"{granted} - ({refunded} or {granted} * 0)"


def day_net(by: str, metric: str = "butie_day_fen") -> str:
    """Granted less refunded on each business day, in fen, by the label `by`.

    Grafana evaluates the query once a day, at midnight in the dashboard's time zone, Shanghai. For
    a day that is over, the next day's `yesterday` has the exact sum. For today, `today` has it.
    """
    kinds = {
        kind: f"(max by ({by}) (last_over_time("
        f'{metric}{{day="yesterday", kind="{kind}"}}[1d] offset -2d)) or '
        f"max by ({by}) (last_over_time("
        f'{metric}{{day="today", kind="{kind}"}}[1d] offset -1d)))'
        for kind in ("grant", "refund")
    }
    return f"{kinds['grant']} - {kinds['refund']}"
