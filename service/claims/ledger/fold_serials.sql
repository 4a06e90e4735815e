-- Adds the folded serial numbers of lines, and removes those of lines that are not live any more;
-- see fold_serials.py. The caller has locked the claims. Returns how many rows changed.
--
-- Lock order: commit_claims.sql.
--
-- $1 jurisdiction $2 claim ids $3 their line numbers
WITH line AS (
    SELECT l.claim_id, l.line_no, folded_serial(l.serial_no) AS serial_no,
        l.state IN ('reserved', 'confirmed') AS live
    FROM unnest($2::uuid[], $3::smallint[]) AS chosen (claim_id, line_no)
    JOIN claim_line AS l USING (claim_id, line_no)
),
added AS (
    INSERT INTO serial_claimed (jurisdiction, serial_no, claim_id, line_no)
    SELECT $1, serial_no, claim_id, line_no FROM line WHERE live
    ORDER BY serial_no, claim_id, line_no
    ON CONFLICT DO NOTHING
    RETURNING 1
),
removed AS (
    DELETE FROM serial_claimed AS s USING line
    WHERE NOT line.live AND s.jurisdiction = $1 AND s.serial_no = line.serial_no
        AND s.claim_id = line.claim_id AND s.line_no = line.line_no
    RETURNING 1
)
SELECT (SELECT count(*) FROM added) + (SELECT count(*) FROM removed)
