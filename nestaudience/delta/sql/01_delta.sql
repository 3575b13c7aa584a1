-- Whom somebody ordered off a list: everybody on a list that is being emptied, and those of whom the first trace on the list is a run that is taken
-- back. No gate on counts or feeds holds them. Nearly every night that is nobody, so whoever cannot be meant is left out before the rest is grouped.
CREATE OR REPLACE TABLE ordered AS
WITH meant AS (
    SELECT audience_no, digest FROM held
    WHERE list_contains(getvariable('emptied'), audience_no) OR held_no IN (SELECT held_no FROM retracted)
)
SELECT audience_no, digest FROM held SEMI JOIN meant USING (audience_no, digest) GROUP BY audience_no, digest
HAVING list_contains(getvariable('emptied'), audience_no) OR arg_min(held_no IN (SELECT held_no FROM retracted), held_no);

-- One row a wanted digest: of several eligible accounts with one address, the one with the smallest token stands for it. Few share one.
CREATE OR REPLACE TABLE wanted AS
WITH eligible AS (
    SELECT audience_no, digest, account_token, subject_no, row_no, signals FROM candidate
    WHERE mask = 0 AND NOT list_contains(getvariable('emptied'), audience_no)
), shared AS (
    SELECT audience_no, digest FROM eligible GROUP BY audience_no, digest HAVING count(*) > 1
)
SELECT * FROM eligible ANTI JOIN shared USING (audience_no, digest) ANTI JOIN ordered USING (audience_no, digest)
UNION ALL
SELECT audience_no, digest, min(account_token), arg_min(subject_no, account_token), arg_min(row_no, account_token), min(signals)
FROM eligible SEMI JOIN shared USING (audience_no, digest) ANTI JOIN ordered USING (audience_no, digest) GROUP BY audience_no, digest;

-- Additions are measured against what is confirmed or on its way, where everybody is sent once more against what is on its way; who may be there all
-- the same is only refreshed. While a removal is on its way, or one of which nobody knows the end may still act, an addition could overtake it, and waits.
CREATE OR REPLACE TABLE addition AS
WITH missing AS (
    SELECT * FROM wanted ANTI JOIN (
        SELECT audience_no, digest FROM held WHERE (confirmed AND NOT getvariable('resend')) OR in_flight OR removing OR unanswered
    ) USING (audience_no, digest)
), there AS (
    SELECT audience_no, digest, max(again) AS again FROM held SEMI JOIN missing USING (audience_no, digest) GROUP BY audience_no, digest
)
SELECT m.audience_no, m.digest, m.account_token, m.row_no, a.person_token, m.signals, t.digest IS NOT NULL AS refresh, coalesce(t.again, 0) AS again
FROM missing m JOIN answer a ON a.subject_no = m.subject_no
LEFT JOIN there t ON t.audience_no = m.audience_no AND t.digest = m.digest;

-- Removals are measured against everything that may be there. A removal is a no if any of its reasons is, if the address was changed, or if it
-- was under way before; `says_no` is without the last. Where only urgent noes leave, everybody else waits until the list is due.
-- Whoever was added again after a removal that is still owed was wanted then: only something new takes her off. A look that did not read everything
-- cannot tell that somebody is wanted again (another account with her address may stand against it): what is owed is sent all the same.
CREATE OR REPLACE TABLE removal AS
WITH overtaken AS (
    SELECT DISTINCT o.held_no FROM (SELECT audience_no, digest, held_no FROM held WHERE owed) o
    JOIN held later ON later.audience_no = o.audience_no AND later.digest = o.digest AND later.held_no > o.held_no
    WHERE NOT later.owed AND NOT later.removing
), lost AS (
    SELECT * FROM held ANTI JOIN wanted USING (audience_no, digest) WHERE NOT removing
    UNION ALL
    SELECT * FROM held SEMI JOIN wanted USING (audience_no, digest)
    WHERE NOT removing AND owed AND NOT getvariable('read_whole') AND held_no NOT IN (SELECT held_no FROM overtaken)
), judged AS (
    SELECT l.* REPLACE (owed AND held_no NOT IN (SELECT held_no FROM overtaken) AS owed),
           CASE WHEN au.recipient = 'google' THEN a.google ELSE a.meta END
                | flag(au.uses_orders, a.analysis) AS mask,
           NOT a.gone AND coalesce(CASE WHEN au.recipient = 'google' THEN a.digest_google ELSE a.digest_meta END <> l.digest, false) AS moved
    FROM lost l JOIN audience au USING (audience_no)
    LEFT JOIN answer a ON a.account_token = l.account_token AND a.controller = au.controller
)
SELECT audience_no, digest, list(DISTINCT held_no ORDER BY held_no) AS held_nos, any_value(account_token) AS account_token,
       any_value(person_token) AS person_token, bit_or(coalesce(mask, 0)) AS mask,
       bool_or((coalesce(mask, 0) & getvariable('no_mask')) > 0 OR moved OR owed) AS is_no, bool_or(moved) AS moved, bool_or(owed) AS owed,
       bool_or((coalesce(mask, 0) & getvariable('no_mask')) > 0 OR moved) AS says_no,
       (bit_or(coalesce(mask, 0)) & r_vanished()) > 0 AS vanished,
       (audience_no, digest) IN (SELECT (audience_no, digest) FROM ordered) AS ordered
FROM judged GROUP BY audience_no, digest
HAVING NOT list_contains(getvariable('urgent'), audience_no) OR bool_or(owed) OR (bit_or(coalesce(mask, 0)) & getvariable('urgent_mask')) > 0;
