-- When so many months have passed, by the calendar, clamped to the month's end. The calendar is slow: what ends a week after now or more is only
-- said to end some day.
CREATE OR REPLACE MACRO ends(since, months) AS
    CASE WHEN since > getvariable('now') - to_months(months) + INTERVAL 10 DAYS THEN 'infinity'::TIMESTAMP ELSE since + to_months(months) END;

-- Grants of the account, as the controller that judges it sees them. Bits: 1 google, 2 meta. Each step keeps some of the bits of the step before:
-- scope, usability, text. A grant that was given to another controller keeps none. `settled`: from account settings or a case.
CREATE OR REPLACE TABLE yes AS
WITH g AS (
    SELECT s.rowid AS subject_no, c.purpose, c.occurred, c.recorded, c.source, c.seq, t.recipients, t.signals,
           c.source_kind IN ('account_prefs', 'support_case', 'dsr') AS settled,
           CASE WHEN c.controller = s.controller
                THEN CASE c.recipient WHEN 4 THEN coalesce(t.recipients, 3) WHEN 0 THEN 0 ELSE c.recipient END ELSE 0 END::UTINYINT AS scope,
           CASE WHEN c.controller = s.controller AND c.confirmed AND usable(c.occurred, c.recorded) AND c.source_kind NOT IN ('signup', 'newsletter')
                     AND c.event NOT IN (SELECT event FROM disputed WHERE view_name = 'consent') THEN true ELSE false END AS usable,
           v.text_no IS NOT NULL AND t.valid_from <= c.occurred AS in_force
    FROM consent c JOIN subject s ON s.account_token = c.account_token
    LEFT JOIN text t ON t.text_no = c.text_no
    LEFT JOIN text_cover v ON v.text_no = c.text_no AND v.controller = c.controller AND v.purpose = c.purpose
    WHERE c.action = 'grant' AND c.purpose IN (1, 2, 3)
)
SELECT subject_no, purpose, occurred, recorded, source, settled, seq, scope, signals,
       CASE WHEN usable THEN scope ELSE 0 END::UTINYINT AS usable_bits,
       CASE WHEN usable AND in_force AND purpose = 1 THEN scope & recipients & CASE WHEN signals = 3 THEN 3 ELSE 2 END
            WHEN usable AND in_force THEN 3 ELSE 0 END::UTINYINT AS counting,
       CASE purpose WHEN 1 THEN ends(occurred, getvariable('consent_months')) ELSE ends(occurred, getvariable('cookie_months')) END
           > getvariable('now') AS fresh
FROM g;

-- Whoever has grants: the step that leaves none of them for a recipient gives the one code. Whoever is missing here was never asked.
CREATE OR REPLACE MACRO left_out(scope, usable, counting, fresh, side) AS
    CASE WHEN (scope & side) = 0 THEN r_consent_other_scope() WHEN (usable & side) = 0 THEN r_consent_unusable()
         WHEN (counting & side) = 0 THEN r_consent_text_insufficient() WHEN (fresh & side) = 0 THEN r_consent_expired() ELSE 0::UBIGINT END;
CREATE OR REPLACE TABLE granted AS
SELECT subject_no, signals, left_out(scope, usable, counting, fresh, 1::UTINYINT) AS google, left_out(scope, usable, counting, fresh, 2::UTINYINT) AS meta
FROM (SELECT subject_no, bit_or(scope) AS scope, bit_or(usable_bits) AS usable, bit_or(counting) AS counting,
             bit_or(CASE WHEN fresh THEN counting ELSE 0 END::UTINYINT) AS fresh, bit_and(signals) FILTER ((counting & 1) > 0) AS signals
      FROM yes WHERE purpose = 1 GROUP BY subject_no);

-- Refusals of cookies that a later grant of the same cookies has ended.
CREATE OR REPLACE TABLE ended AS
SELECT DISTINCT n.subject_no, n.no_no
FROM reached n JOIN yes y ON y.subject_no = n.subject_no AND y.purpose = CASE n.kind WHEN 'cookies_web' THEN 2 WHEN 'cookies_conversions' THEN 3 END
WHERE y.counting > 0 AND outdoes(n.same_line AND y.source = n.source, y.seq, y.occurred, y.recorded, n.seq, n.occurred, n.recorded);

-- What stands against a grant: withdrawals for the recipients they name, and refusals of cookies while they stand.
-- Whoever is reached by a remembered no is judged twice: by what the store shows alone, and with memory.
CREATE OR REPLACE TABLE against AS
WITH standing AS (
    SELECT * FROM reached WHERE kind = 'withdrawn'
    UNION ALL
    SELECT * FROM reached ANTI JOIN ended USING (subject_no, no_no)
    WHERE kind IN ('cookies_web', 'cookies_conversions', 'cookies_unknown') AND getvariable('cookies_block')
), faced AS (
    SELECT *, false AS with_memory FROM standing WHERE NOT remembered
    UNION ALL
    SELECT *, true FROM standing SEMI JOIN (SELECT subject_no FROM reached WHERE remembered) haunted USING (subject_no)
)
SELECT subject_no, with_memory, kind = 'withdrawn' AS withdrawal, bits, same_line, source, seq, occurred, recorded FROM faced;

-- For every counting grant of somebody who is reached: for which recipients does it, alone, outdo all withdrawals, all refusals, all of both? The last
-- makes eligible, while the grant is fresh. What one no leaves of a grant: everything when it is outdone, else what it does not name.
CREATE OR REPLACE TABLE contest AS
WITH pair AS (
    SELECT a.subject_no, a.with_memory, a.withdrawal, y.rowid AS yes_no, y.fresh,
           CASE WHEN outdoes(a.same_line AND y.source = a.source, y.seq, y.occurred, y.recorded, a.seq, a.occurred, a.recorded)
                THEN y.counting ELSE y.counting & ~a.bits END AS left_of_it
    FROM against a JOIN yes y ON y.subject_no = a.subject_no AND y.purpose = 1 AND y.counting > 0
), per_grant AS (
    SELECT subject_no, with_memory, any_value(fresh) AS fresh, bit_and(left_of_it) FILTER (withdrawal) AS withdrawals,
           bit_and(left_of_it) FILTER (NOT withdrawal) AS refusals, bit_and(left_of_it) AS all_noes
    FROM pair GROUP BY subject_no, with_memory, yes_no
), best AS (
    SELECT subject_no, with_memory, bit_or(withdrawals) AS any_w, bit_or(refusals) AS any_k, bit_or(all_noes) AS any_both,
           bit_or(all_noes) FILTER (fresh) AS any_fresh
    FROM per_grant GROUP BY subject_no, with_memory
), said AS (
    SELECT subject_no, with_memory, coalesce(bit_or(bits) FILTER (withdrawal), 0) AS has_w, coalesce(bit_or(bits) FILTER (NOT withdrawal), 0) AS has_k
    FROM against GROUP BY subject_no, with_memory
)
SELECT s.subject_no, s.with_memory, has_w & ~coalesce(any_w, 0) AS withdrawn,
       has_k & ~coalesce(any_both, 0) & ~(coalesce(any_k, 0) & has_w & ~coalesce(any_w, 0)) AS refused,
       (has_w | has_k) & coalesce(any_both, 0) & ~coalesce(any_fresh, 0) AS expired
FROM said s LEFT JOIN best b ON b.subject_no = s.subject_no AND b.with_memory = s.with_memory;

-- Its codes for each recipient: of what the store shows, and (kept) of what the store shows and memory adds to it.
CREATE OR REPLACE MACRO contest_mask(withdrawn, refused, expired, side) AS
    flag((withdrawn & side) > 0, r_consent_withdrawn()) | flag((refused & side) > 0, r_cookies_refused()) | flag((expired & side) > 0, r_consent_expired());
CREATE OR REPLACE TABLE contested AS
WITH each AS (
    SELECT subject_no, with_memory, contest_mask(withdrawn, refused, expired, 1) AS google, contest_mask(withdrawn, refused, expired, 2) AS meta
    FROM contest
)
SELECT subject_no, coalesce(bit_or(google) FILTER (NOT with_memory), 0::UBIGINT) AS google,
       coalesce(bit_or(meta) FILTER (NOT with_memory), 0::UBIGINT) AS meta,
       coalesce(bit_or(google) FILTER (with_memory), 0::UBIGINT) AS kept_google,
       coalesce(bit_or(meta) FILTER (with_memory), 0::UBIGINT) AS kept_meta
FROM each GROUP BY subject_no;
