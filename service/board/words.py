"""Every word of the budget page, in Chinese and in English."""

from collections.abc import Mapping

from service.core.forecast import Outlook
from service.core.sentences import Sentence

BOARD_WORDS: Mapping[str, Sentence] = {
    "lang": Sentence("zh-CN", "en"),
    "title": Sentence("以旧换新补贴 · 预算看板", "Trade-in subsidies · budget board"),
    "other_language": Sentence("English", "中文"),
    "no_policy": Sentence("今日无生效政策", "No policy in force today"),
    "sandbox": Sentence(
        "演示环境：数据均为虚构，时间为演示时钟", "Sandbox: made-up data on a clock of its own"
    ),
    "updated": Sentence("更新于", "Updated"),
    "total_left": Sentence("全部剩余", "Left in all"),
    "today": Sentence("今日支出", "Spent today"),
    "pace": Sentence("每分钟补贴单", "Claims a minute"),
    "first_out": Sentence("最先用完", "First to run out"),
    "nobody": Sentence("暂无", "None"),
    "pools": Sentence("各项资金", "Budgets"),
    "pool": Sentence("资金", "Budget"),
    "left": Sentence("剩余", "Left"),
    "left_of": Sentence("{pool}剩余 {share}", "{pool}: {share} left"),
    "of": Sentence("预算 {allocated}", "of {allocated}"),
    "reserved": Sentence("另有 {reserved} 已预留", "{reserved} more on hold"),
    "share_left": Sentence("剩余比例", "Share left"),
    "last_day": Sentence("预计用完日", "Projected last day"),
    "state": Sentence("状态", "State"),
    "chart": Sentence("今日支出走势", "Today so far"),
    "chart_text": Sentence("截至 {time} 累计 {today}", "{today} by {time}"),
    "chart_at": Sentence("{hour} 时 {fen}", "{fen} by {hour}:00"),
    "usual": Sentence("虚线：平常一天 {usual}", "Dashed: a usual day, {usual}"),
    "no_usual": Sentence("满一整天后显示平常水平", "A usual day is known after one whole day"),
    "range": Sentence("八成可能在 {earliest} 至 {latest}", "80 %: {earliest} to {latest}"),
    "range_of_one": Sentence("八成可能就在这天", "80 %: that very day"),
    "range_open": Sentence(
        "八成可能在 {earliest} 以后，或用到期末", "80 %: {earliest} or later, or never"
    ),
    "may_from": Sentence("最早 {earliest}", "{earliest} at the earliest"),
    "ends": Sentence("政策至 {ends}", "policy ends {ends}"),
    "opens": Sentence("{day} 再投放 {amount}", "{amount} more on {day}"),
    "opens_public": Sentence("{day} 开放下一批", "More money on {day}"),
    "open": Sentence("可申领", "Available"),
    "low": Sentence("即将用完", "Nearly used up"),
    "gone": Sentence("已用完", "Used up"),
    "closed": Sentence("未开放", "Not open"),
    "about": Sentence(
        "预计用完日由近八周的每日支出、星期规律和趋势推算；“八成可能”指十次中有八次落在其间。"
        "金额取自账本，支出已扣除退回。",
        "The projected last day follows up to eight weeks of burn: level, weekdays and trend. "
        "The 80 % range holds in eight cases of ten. Amounts are the ledger's, net of refunds.",
    ),
    "about_public": Sentence(
        "比例为各项资金剩余占预算的份额，向下取整；能否补贴以收银台实时结果为准。",
        "Shares are what is left of each budget, rounded down. The till has the last word.",
    ),
    "stale": Sentence(
        "账本暂时读不到，以下是 {time} 的数据；恢复后自动更新。",
        "The ledger cannot be read. These figures are of {time}; they will update by themselves.",
    ),
    "nothing": Sentence(
        "账本暂时读不到，还没有数据可显示；恢复后自动更新。",
        "The ledger cannot be read, and there is nothing to show yet. The page updates by itself.",
    ),
    "lost": Sentence(
        "与服务的连接中断，以下是最后收到的数据；恢复后自动更新。",
        "The connection is lost. These figures are the last received; they will update by "
        "themselves.",
    ),
    "under_one": Sentence("不足 1 %", "under 1 %"),
    "full": Sentence("工作人员入口", "For the office"),
}

# Shown instead of a date when there is none.
OUTLOOKS: Mapping[Outlook, Sentence] = {
    "may_run_out": Sentence("可能用到期末", "May last to the end"),
    "lasts": Sentence("可用到期末", "Lasts to the end"),
    "empty": Sentence("已用完", "Used up"),
    "idle": Sentence("暂无支出", "Nothing spent"),
    "too_early": Sentence("满一整天后给出", "After one whole day"),
    "no_policy": Sentence("今日无政策", "No policy today"),
}
