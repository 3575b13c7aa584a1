-- For somebody who asks why: every event of the few accounts at hand, and what the rules above made of it. Bits: 1 google, 2 meta, 4 whoever the text
-- names. Never run in a night.
CREATE OR REPLACE TABLE trace AS
SELECT DISTINCT c.event AS no_or_event, c.account_token, c.controller, 'grant' AS action,
       CASE c.purpose WHEN 1 THEN 'ad_matching' WHEN 2 THEN 'web_behaviour' WHEN 3 THEN 'enhanced_conversions' WHEN 4 THEN 'order_analysis'
            ELSE 'unknown' END AS purpose,
       CASE WHEN y.counting > 0 AND y.fresh AND c.purpose = 1 THEN y.counting ELSE c.recipient END AS bits,
       c.occurred, c.recorded, c.source_kind::VARCHAR AS source_kind, text.version AS text_version,
       CASE WHEN y.subject_no IS NULL THEN 'other_scope' WHEN y.usable_bits = 0 AND NOT coalesce(c.confirmed, false) THEN 'unconfirmed'
            WHEN y.usable_bits = 0 THEN 'unusable' WHEN y.counting = 0 THEN 'text_insufficient' WHEN NOT y.fresh THEN 'expired' ELSE 'counts' END AS verdict
FROM consent c LEFT JOIN subject s ON s.account_token = c.account_token AND s.controller = c.controller
LEFT JOIN yes y ON y.subject_no = s.rowid AND y.purpose = c.purpose
     AND y.occurred IS NOT DISTINCT FROM c.occurred AND y.recorded IS NOT DISTINCT FROM c.recorded AND y.source IS NOT DISTINCT FROM c.source
     AND y.seq IS NOT DISTINCT FROM c.seq
LEFT JOIN text ON text.text_no = c.text_no
WHERE c.action = 'grant' AND c.purpose <> 5;

-- A no stands unless everybody whom it reaches has something that ended it.
INSERT INTO trace
WITH ended AS (
    SELECT n.rowid AS no_no, y.subject_no
    FROM no_event n JOIN reached r ON r.no_no = n.rowid JOIN yes y ON y.subject_no = r.subject_no
    WHERE y.counting > 0
      AND ((y.purpose = 1 AND n.kind IN ('withdrawn', 'cookies_web', 'cookies_conversions', 'cookies_unknown') AND (y.counting & n.bits) = n.bits)
           OR (n.kind = 'cookies_web' AND y.purpose = 2) OR (n.kind = 'cookies_conversions' AND y.purpose = 3))
      AND outdoes(r.same_line AND y.source = n.source, y.seq, y.occurred, y.recorded, n.seq, n.occurred, n.recorded)
    UNION SELECT no_no, subject_no FROM consented_again WHERE bits = 3
    UNION SELECT no_no, subject_no FROM lifted WHERE kind = 'objected_analysis'
)
SELECT n.rowid, n.account_token, n.controller,
       CASE n.kind WHEN 'objected' THEN 'object' WHEN 'objected_analysis' THEN 'object' WHEN 'restricted' THEN 'restrict' WHEN 'erased' THEN 'erase'
            WHEN 'closed' THEN 'close' ELSE 'withdraw' END,
       CASE n.kind WHEN 'withdrawn' THEN 'ad_matching' WHEN 'objected' THEN 'ad_matching' WHEN 'objected_analysis' THEN 'order_analysis'
            WHEN 'cookies_web' THEN 'web_behaviour' WHEN 'cookies_conversions' THEN 'enhanced_conversions' WHEN 'cookies_unknown' THEN 'unknown' ELSE '*' END,
       n.bits, n.occurred, n.recorded, CASE WHEN n.remembered THEN 'suppression' END, NULL,
       CASE WHEN count(r.subject_no) > 0 AND bool_and(e.no_no IS NOT NULL) THEN 'outdone' ELSE 'stands' END
FROM no_event n LEFT JOIN reached r ON r.no_no = n.rowid LEFT JOIN ended e ON e.no_no = n.rowid AND e.subject_no = r.subject_no
GROUP BY ALL;

-- Lifts and ends, and the restrictions that they ended: those are no longer among the noes.
INSERT INTO trace
SELECT r.event, r.account_token, r.controller, r.action,
       CASE r.purpose WHEN 1 THEN 'ad_matching' WHEN 4 THEN 'order_analysis' WHEN 6 THEN '*' ELSE 'unknown' END, NULL, r.occurred, r.recorded, r.source_kind,
       NULL, CASE r.action WHEN 'restrict' THEN 'outdone' ELSE 'noted' END
FROM rights r
WHERE r.action IN ('lift_objection', 'unrestrict')
   OR (r.action = 'restrict' AND NOT EXISTS (
        SELECT 1 FROM no_event n
        WHERE n.kind = 'restricted' AND n.account_token IS NOT DISTINCT FROM r.account_token AND n.controller IS NOT DISTINCT FROM r.controller
          AND n.source IS NOT DISTINCT FROM r.source AND n.seq IS NOT DISTINCT FROM r.seq
          AND n.recorded IS NOT DISTINCT FROM coalesce(r.recorded, 'infinity'::TIMESTAMP)));

-- The answer for each account and each audience of a company at which it is judged.
CREATE OR REPLACE TABLE traced_answer AS
SELECT a.account_token, au.audience_no, c.mask IS NOT NULL AS in_segment,
       coalesce(c.mask, CASE au.recipient WHEN 'google' THEN a.google ELSE a.meta END) AS mask
FROM answer a JOIN audience au ON au.controller = a.controller
LEFT JOIN candidate c ON c.audience_no = au.audience_no AND c.account_token = a.account_token;
