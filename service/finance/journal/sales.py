"""The sales that the subsidy drove: what the granted lines were sold for, less the refunded ones.

The journal has no prices. They are in the claims' lines, where they never change, so the sales of a
closed day stay the same. A price is what the goods cost before the subsidy, in fen.
"""


def with_sales(table: str) -> str:
    """The entries of `journal` or `journal_funded` as an SQL source with one more column:
    `sales_fen`, the line's price, negative for a refund, null for an allocation."""
    return f"""(
        SELECT j.*,
            CASE j.kind WHEN 'grant' THEN l.price_fen WHEN 'refund' THEN -l.price_fen END
                AS sales_fen
        FROM {table} AS j
        LEFT JOIN claim_line AS l ON l.claim_id = j.claim_id AND l.line_no = j.line_no
    ) AS sold"""  # noqa: S608
