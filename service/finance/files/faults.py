"""Why a file as a whole cannot be used, in a sentence that says what to do."""

from service.core.sentences import Language, Sentence

FAULTS: dict[str, Sentence] = {
    "unreadable": Sentence(
        "第 {line} 行起无法读取；请用 UTF-8 或 GBK 的 csv，或未加密的 xlsx",
        "it cannot be read from line {line} on: send csv in UTF-8 or GBK, or xlsx without a "
        "password",
    ),
    "broken_gzip": Sentence(
        "内容不是完整的 gzip；请重新压缩后提交，或不压缩直接提交",
        "it is no whole gzip: compress it anew, or send it as it is",
    ),
    "bad_character": Sentence(
        "第 {line} 行有无法识别的字符；请另存为 UTF-8 的 csv 后重新提交",
        "line {line} has a character that is not of the file's encoding: save it as csv in UTF-8 "
        "and send it again",
    ),
    "open_quote": Sentence(
        "第 {line} 行的引号没有配对，其后的行会被吞掉；请把单元格中的引号写成两个，或删去",
        "a quotation mark in line {line} is not closed where its cell ends, so the lines after it "
        "would be lost: double the quotation marks within cells, or remove them",
    ),
    "rows_lost": Sentence(
        "文件本身有 {rows} 行，只读出 {read} 行；请另存后重新提交，或联系我们",
        "the file has {rows} rows and {read} were read: save it anew and send it again, or call us",
    ),
    "old_workbook": Sentence(
        "这是旧版 xls 或带密码的工作簿；请另存为不带密码的 xlsx",
        "it is an old .xls, or a workbook with a password: save it as .xlsx without a password",
    ),
    "strict_workbook": Sentence(
        "工作簿是 Strict Open XML 格式；请在 Excel 中另存为“Excel 工作簿 (.xlsx)”",
        "the workbook is Strict Open XML: save it as “Excel Workbook (.xlsx)”",
    ),
    "which_sheet": Sentence(
        "工作簿有多个有内容的工作表：{sheets}；请用 sheet 指明一个",
        "the workbook has several sheets with rows, {sheets}: name one with sheet",
    ),
    "no_such_sheet": Sentence(
        "工作簿中没有名为 {sheet} 的工作表；有：{sheets}",
        "the workbook has no sheet {sheet}; it has {sheets}",
    ),
    "no_sheets": Sentence(
        "csv 没有工作表；请去掉 sheet",
        "a csv has no sheets: leave sheet out",
    ),
    "too_many_sheets": Sentence(
        "工作簿的工作表过多；请只保留一个",
        "the workbook has too many sheets: keep the one that is meant",
    ),
    "which_member": Sentence(
        "压缩包中有多个文件：{members}；请解压后提交其中一个",
        "the archive has several files, {members}: unpack it and send one of them",
    ),
    "members_alike": Sentence(
        "压缩包中有两个同名文件：{member}；请解压后提交其中一个",
        "the archive has two files of the name {member}: unpack it and send the one that is meant",
    ),
    "nested_archive": Sentence(
        "压缩包里还有压缩包；请解压后提交其中的表格",
        "the archive has another archive in it: unpack it and send the table",
    ),
    "empty_archive": Sentence(
        "压缩包中没有表格；请提交 csv 或 xlsx",
        "the archive has no table in it: send csv or xlsx",
    ),
    "unpacks_too_large": Sentence(
        "压缩包解开后过大；请缩短期间，分几次对账",
        "it unpacks to too much: reconcile shorter periods",
    ),
    "missing_columns": Sentence(
        "表头中没有这些列：{columns}；请核对列名与分隔符（csv 用逗号），"
        "表头前有其他行时用 skip 略过",
        "its heading lacks the columns {columns}: check their names, part a csv by commas, "
        "and skip the lines before the heading if there are any",
    ),
    "repeated_columns": Sentence(
        "表头中以下列名出现不止一次：{columns}；请改名，使每一列只有一个含义",
        "its heading has these columns more than once: {columns}; rename those that are not meant",
    ),
    "sale_in_head": Sentence(
        "第 {line} 行在表头之前，却像一笔交易；请核对表头和 skip",
        "line {line} is before the heading, and it looks like a sale: check the heading and skip",
    ),
    "sale_in_trailer": Sentence(
        "第 {line} 行被 skip_end 当作合计行，却像一笔交易；请核对 skip_end",
        "line {line} is skipped at the end, and it looks like a sale: check skip_end",
    ),
    "too_many_rows": Sentence(
        "超过 1,000,000 行；请缩短期间，分几次对账",
        "it has more than 1,000,000 rows: reconcile shorter periods",
    ),
    "no_rows": Sentence("文件中没有表头", "it has no heading"),
    "not_of_profile": Sentence(
        "第 {line} 行不是 {profile} 账单的格式；请核对 profile，并提交平台下载的原文件",
        "line {line} does not belong in a file of the profile {profile}: check profile, and send "
        "the file as the platform gave it",
    ),
    "headings_differ": Sentence(
        "第 {line} 行的表头与前一个文件不同；请分开提交",
        "the heading in line {line} differs from the file's before it: send them one by one",
    ),
    "no_totals": Sentence(
        "文件末尾没有平台的合计（{total}），可能不完整；请重新下载",
        "it does not end with the platform's totals ({total}), so it may be cut: download it again",
    ),
    "totals_differ": Sentence(
        "平台的合计“{total}”为 {stated}，逐行读出为 {read}：文件缺行或被改动；请重新下载",
        "the platform's total {total} is {stated}, and the rows add up to {read}: rows are missing "
        "or were changed, so download it again",
    ),
    "row_unclear": Sentence(
        "第 {line} 行的列与表头对不上（名称中可能有逗号或换行），平台的合计“{total}”因此无法核对；"
        "请更正该行后重新提交",
        "line {line} has not the cells of the heading, perhaps for a comma or a line end in a "
        "name, so the platform's total {total} cannot be compared: correct that line, and send "
        "the file again",
    ),
    "record_cut": Sentence(
        "第 {line} 行有 {bytes} 字节，应为 {expected}：文件被截断或转换过编码；请重新下载",
        "line {line} has {bytes} bytes and should have {expected}: the file is cut, or was saved "
        "in another encoding, so download it again",
    ),
    "record_shifted": Sentence(
        "第 {line} 行的字段不在应有的位置；请提交平台下载的原文件",
        "the fields of line {line} are not where they should be: send the file as the platform "
        "gave it",
    ),
    "key_too_common": Sentence(
        "账上有上万笔共用同一个键，无法逐笔对应；请改用能区分每笔的列（如 claim_id）",
        "thousands of sales in the books share one key: match by columns that tell sales apart, "
        "like claim_id",
    ),
}


class BadFile(Exception):
    """The file as a whole cannot be used. `facts` fill the sentence of `fault`."""

    def __init__(self, fault: str, **facts: str) -> None:
        assert fault in FAULTS, f"Bug! {fault} has no sentence."
        super().__init__(fault, facts)
        self.fault = fault
        self.facts = facts

    def __str__(self) -> str:
        return FAULTS[self.fault].en.format_map(self.facts)


def in_place(sentence: Sentence, facts: dict[str, str], language: Language) -> str:
    """The sentence, and the sheet and the line that it does not name itself."""
    text = sentence.in_language(language).format_map(facts)
    names = (
        {"sheet": "工作表", "line": "行"}
        if language == "zh"
        else {"sheet": "sheet", "line": "line"}
    )
    gaps = sentence.gaps()
    place = [f"{names[fact]} {facts[fact]}" for fact in names if fact in facts and fact not in gaps]
    if not place:
        return text
    return f"{text}（{'，'.join(place)}）" if language == "zh" else f"{text} ({', '.join(place)})"
