-- Grants of the account at the controller that judges it. Bits: 1 google, 2 meta. Each step keeps some of the bits of the step before.
CREATE OR REPLACE TABLE yes AS
WITH g AS (
    SELECT c.*, s.rowid AS subject_no,
           CASE c.recipient WHEN 4 THEN coalesce(t.recipients, 3) WHEN 0 THEN 0 ELSE c.recipient END::UTINYINT AS scope,
           coalesce(c.confirmed AND usable(c.occurred, c.recorded) AND c.source_kind NOT IN ('signup', 'newsletter')
                    AND c.event NOT IN (SELECT event FROM disputed WHERE view_name = 'consent'), false) AS usable,
           t.recipients AS text_recipients, t.valid_from, t.signals
    FROM consent c JOIN subject s ON s.account_token = c.account_token AND s.controller = c.controller
    LEFT JOIN text t ON t.text_no = c.text_no
    WHERE c.action = 'grant' AND c.purpose IN (1, 2, 3)
), covered AS (
    SELECT g.*, CASE WHEN g.valid_from <= g.occurred AND EXISTS (
        SELECT 1 FROM text_cover v WHERE v.text_no = g.text_no AND v.controller = g.controller AND v.purpose = g.purpose) THEN 1 ELSE 0 END AS in_force
    FROM g
)
SELECT subject_no, account_token, controller, purpose, occurred, recorded, source, source_kind, seq, scope, signals,
       CASE WHEN usable THEN scope ELSE 0 END::UTINYINT AS usable_bits,
       CASE WHEN usable AND in_force = 1 AND purpose = 1
            THEN scope & text_recipients & CASE WHEN signals = 3 THEN 3 ELSE 2 END
            WHEN usable AND in_force = 1 THEN 3 ELSE 0 END::UTINYINT AS counting,
       occurred + to_months(CASE WHEN purpose = 1 THEN getvariable('consent_months') ELSE getvariable('cookie_months') END)
           > getvariable('now') AS fresh
FROM covered;

-- What stands against a grant: withdrawals for the recipient, and refusals of cookies that no later cookie grant has ended.
-- Whoever is reached by a remembered no is judged twice: by what the store shows alone, and with memory.
CREATE OR REPLACE TABLE faced AS
SELECT r.*, false AS with_memory FROM reached r SEMI JOIN (SELECT rowid AS no_no FROM no_event WHERE NOT remembered) shown ON shown.no_no = r.no_no
UNION ALL
SELECT r.*, true FROM reached r
SEMI JOIN (SELECT m.subject_no FROM reached m JOIN no_event n ON n.rowid = m.no_no WHERE n.remembered) haunted ON haunted.subject_no = r.subject_no;
CREATE OR REPLACE TABLE against AS
SELECT r.subject_no, r.with_memory, recipient.side AS side, n.kind = 'withdrawn' AS withdrawal, n.*
FROM faced r JOIN no_event n ON n.rowid = r.no_no JOIN (VALUES (1::UTINYINT), (2::UTINYINT)) recipient(side) ON (n.bits & recipient.side) > 0
WHERE n.kind = 'withdrawn' OR (getvariable('cookies_block') AND n.kind IN ('cookies_web', 'cookies_conversions', 'cookies_unknown')
    AND NOT EXISTS (
        SELECT 1 FROM yes y WHERE y.subject_no = r.subject_no AND y.counting > 0
        AND y.purpose = CASE n.kind WHEN 'cookies_web' THEN 2 WHEN 'cookies_conversions' THEN 3 END
        AND outdoes(y.account_token, y.source, y.controller, y.seq, y.occurred, y.recorded,
                    n.account_token, n.source, n.controller, n.seq, n.occurred, n.recorded)));

-- For every counting grant of somebody who is reached: does it, alone, outdo all withdrawals, all refusals?
CREATE OR REPLACE TABLE contest AS
WITH per_grant AS (
    SELECT a.subject_no, a.with_memory, a.side, y.rowid AS yes_no, any_value(y.fresh) AS fresh,
           coalesce(bool_and(b.beats) FILTER (a.withdrawal), true) AS beats_withdrawals,
           coalesce(bool_and(b.beats) FILTER (NOT a.withdrawal), true) AS beats_refusals
    FROM against a JOIN yes y ON y.subject_no = a.subject_no AND y.purpose = 1 AND (y.counting & a.side) > 0,
    LATERAL (SELECT coalesce(outdoes(y.account_token, y.source, y.controller, y.seq, y.occurred, y.recorded,
                            a.account_token, a.source, a.controller, a.seq, a.occurred, a.recorded), false) AS beats) b
    GROUP BY a.subject_no, a.with_memory, a.side, y.rowid
), best AS (
    SELECT subject_no, with_memory, side, bool_or(beats_withdrawals) AS any_w, bool_or(beats_refusals) AS any_k,
           bool_or(beats_withdrawals AND beats_refusals) AS any_both, bool_or(beats_withdrawals AND beats_refusals AND fresh) AS any_fresh
    FROM per_grant GROUP BY subject_no, with_memory, side
)
SELECT t.subject_no, t.with_memory, t.side, t.has_w AND NOT coalesce(any_both, false) AND NOT coalesce(any_w, false) AS withdrawn,
       t.has_k AND NOT coalesce(any_both, false) AND (NOT coalesce(any_k, false) OR NOT (t.has_w AND NOT coalesce(any_w, false))) AS refused,
       coalesce(any_both, false) AND NOT coalesce(any_fresh, false) AS expired
FROM (SELECT subject_no, with_memory, side, bool_or(withdrawal) AS has_w, bool_or(NOT withdrawal) AS has_k
      FROM against GROUP BY subject_no, with_memory, side) t
LEFT JOIN best USING (subject_no, with_memory, side);

CREATE OR REPLACE MACRO contest_mask(withdrawn, refused, expired) AS
    flag(withdrawn, r_consent_withdrawn()) | flag(refused, r_cookies_refused()) | flag(expired, r_consent_expired());
CREATE OR REPLACE TABLE consent_mask AS
WITH kept AS (
    SELECT subject_no, bit_or(scope) AS scope, bit_or(usable_bits) AS usable, bit_or(counting) AS counting,
           bit_or(CASE WHEN fresh THEN counting ELSE 0 END::UTINYINT) AS fresh,
           bit_and(signals) FILTER ((counting & 1) > 0) AS signals
    FROM yes WHERE purpose = 1 GROUP BY subject_no
), asked AS (
    SELECT DISTINCT s.rowid AS subject_no FROM subject s SEMI JOIN (SELECT account_token FROM consent WHERE action = 'grant' AND purpose = 1) c
    ON c.account_token = s.account_token
), judged AS (
    SELECT subject_no, side, signals,
           CASE WHEN (coalesce(scope, 0) & side) = 0 THEN r_consent_other_scope() WHEN (usable & side) = 0 THEN r_consent_unusable()
                WHEN (counting & side) = 0 THEN r_consent_text_insufficient() WHEN (fresh & side) = 0 THEN r_consent_expired()
                ELSE 0::UBIGINT END AS mask
    FROM asked LEFT JOIN kept USING (subject_no), (VALUES (1::UTINYINT), (2::UTINYINT)) recipient(side)
), contested AS (
    SELECT subject_no, side, NULL::UTINYINT AS signals, contest_mask(withdrawn, refused, expired) AS mask FROM contest WHERE NOT with_memory
), every_mask AS (SELECT true AS asked, * FROM judged UNION ALL SELECT false, * FROM contested)
SELECT subject_no, bool_or(asked) AS asked, max(signals) AS signals, bit_or(CASE WHEN side = 1 THEN mask ELSE 0 END::UBIGINT) AS google, bit_or(CASE WHEN side = 2 THEN mask ELSE 0 END::UBIGINT) AS meta
FROM every_mask GROUP BY subject_no;

-- For whom memory alone makes a difference that is a no.
CREATE OR REPLACE TABLE consent_suppressed AS
SELECT t.subject_no, bool_or(t.side = 1) AS google, bool_or(t.side = 2) AS meta
FROM contest t LEFT JOIN consent_mask c USING (subject_no)
WHERE t.with_memory
  AND (contest_mask(t.withdrawn, t.refused, t.expired) & ~coalesce(CASE WHEN t.side = 1 THEN c.google ELSE c.meta END, 0::UBIGINT)) > 0
GROUP BY t.subject_no;
