-- For whoever verifies: from when on and until when nobody may have been added, by the noes that memory has and the store as it is now. Never run in a
-- night. A no holds from the moment a run first saw it, for the address and the account that it was remembered with.

-- What the account of a no that is gone from the store said later is gone with it: such a no is compared with nothing.
CREATE OR REPLACE TABLE seen_no AS
SELECT row_number() OVER () AS seen_no, * FROM recalled
WHERE account_token IS NULL OR account_token IN (SELECT account_token FROM subject WHERE own);

CREATE OR REPLACE TABLE faced AS
WITH touched AS (
    SELECT n.*, s.rowid AS subject_no, s.account_token AS own_account, s.controller AS judged_by, s.home, s.created_at,
           coalesce(s.controller = n.controller, false) AS same_line
    FROM seen_no n JOIN subject s ON s.account_token = n.account_token WHERE (s.mask & r_vanished()) = 0
    UNION ALL
    SELECT n.*, s.rowid, s.account_token, s.controller, s.home, s.created_at, false
    FROM seen_no n JOIN subject s ON s.person_token = n.person_token
    WHERE (s.mask & r_vanished()) = 0 AND NOT coalesce(s.account_token = n.account_token, false)
)
SELECT * FROM touched
WHERE NOT of_consent(kind) OR getvariable('group_wide') OR controller IS NULL OR kept_controller(home) = kept_controller(controller);

-- What ended a no, for which recipients, and when the store recorded it.
CREATE OR REPLACE TABLE excuse AS
WITH said_yes AS (
    SELECT f.seen_no, f.judged_by, f.kind, f.lifted, f.own_account, y.purpose, y.counting, y.settled, y.occurred, y.recorded
    FROM faced f JOIN yes y ON y.subject_no = f.subject_no AND y.counting > 0
    WHERE outdoes(f.same_line AND y.source = f.source, y.seq, y.occurred, y.recorded, f.seq, f.occurred, f.recorded)
), lifted_by AS (
    SELECT f.seen_no, f.judged_by, f.own_account, f.kind, l.occurred, l.recorded
    FROM faced f JOIN lift l ON l.account_token = f.own_account AND l.controller = f.judged_by
    WHERE ((f.kind = 'objected' AND l.for_matching) OR (f.kind = 'objected_analysis' AND l.for_analysis))
      AND outdoes(f.same_line AND l.source = f.source, l.seq, l.occurred, l.recorded, f.seq, f.occurred, f.recorded)
    UNION ALL SELECT seen_no, judged_by, own_account, kind, lifted, lifted FROM faced WHERE lifted IS NOT NULL
)
SELECT seen_no, judged_by, recorded AS at, CASE WHEN purpose = 1 THEN counting ELSE 3 END::UTINYINT AS bits FROM said_yes
WHERE of_consent(kind) AND (purpose = 1 OR (kind = 'cookies_web' AND purpose = 2) OR (kind = 'cookies_conversions' AND purpose = 3))
UNION ALL
SELECT l.seen_no, l.judged_by, y.recorded, y.counting FROM lifted_by l JOIN said_yes y USING (seen_no, judged_by, own_account)
WHERE l.kind = 'objected' AND y.purpose = 1 AND y.settled AND y.occurred >= l.occurred AND y.recorded >= l.recorded
UNION ALL SELECT seen_no, judged_by, recorded, 3 FROM lifted_by WHERE kind = 'objected_analysis'
UNION ALL
SELECT f.seen_no, f.judged_by, u.recorded, 3
FROM faced f JOIN rights u ON u.action = 'unrestrict' AND usable(u.occurred, u.recorded)
     AND (u.account_token = f.account_token OR (u.account_token IS NULL AND f.account_token IS NULL AND u.address_token = f.person_token))
WHERE f.kind = 'restricted'
  AND outdoes(u.source = f.source AND kept_controller(u.controller) = kept_controller(f.controller),
              u.seq, u.occurred, u.recorded, f.seq, f.occurred, f.recorded)
UNION ALL
SELECT seen_no, judged_by, created_at, 3 FROM faced WHERE kind = 'erased' AND created_at > occurred AND created_at > recorded;

-- `bit`: 1 google, 2 meta. `until` is null while nothing has ended it; the clocks of a store may be off by the skew.
CREATE OR REPLACE TABLE barred AS
SELECT f.account_token, f.person_token, f.judged_by AS controller, side.bit, f.kind = 'objected_analysis' AS orders_only, f.first_seen AS since,
       min(e.at) - getvariable('skew') AS until
FROM (SELECT DISTINCT seen_no, account_token, person_token, judged_by, bits, kind, first_seen FROM faced) f
CROSS JOIN (VALUES (1::UTINYINT), (2::UTINYINT)) side(bit)
LEFT JOIN excuse e ON e.seen_no = f.seen_no AND e.judged_by = f.judged_by AND (e.bits & side.bit) > 0
WHERE (f.bits & side.bit) > 0
  AND (f.kind NOT IN ('cookies_web', 'cookies_conversions', 'cookies_unknown') OR getvariable('cookies_block'))
GROUP BY f.seen_no, f.account_token, f.person_token, f.judged_by, side.bit, f.kind, f.first_seen
HAVING min(e.at) IS NULL OR min(e.at) - getvariable('skew') > f.first_seen;

-- Accounts that a no reaches which no run has seen: memory does not have it, and the store recorded it since `since`. Closures are in no memory.
CREATE OR REPLACE MACRO unseen(since) AS TABLE
SELECT DISTINCT s.account_token
FROM no_event n JOIN reached r ON r.no_no = n.rowid JOIN subject s ON s.rowid = r.subject_no
WHERE NOT n.remembered AND isfinite(n.recorded) AND n.recorded > since
  AND NOT EXISTS (SELECT 1 FROM recalled m WHERE same_no(m, n) AND (n.person_token IS NULL OR m.person_token = n.person_token));

CREATE OR REPLACE MACRO is_barred(b, m) AS
    b.controller = m.controller AND b.bit = m.bit AND (NOT b.orders_only OR m.uses_orders) AND m.at > b.since AND (b.until IS NULL OR m.at < b.until);
