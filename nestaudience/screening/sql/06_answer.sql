-- What the steps before found about somebody, in one row: whoever has grants, and whoever has something against her. What memory adds of consent is
-- `suppressed`, where the store does not show the same.
CREATE OR REPLACE TABLE found AS
WITH each AS (
    SELECT subject_no, google, meta, kept_google, kept_meta, 0::UBIGINT AS analysis FROM contested
    UNION ALL
    SELECT subject_no, google, meta, 0::UBIGINT, 0::UBIGINT, flag(analysis, r_analysis_objected()) | flag(analysis_suppressed, r_suppressed())
    FROM rights_mask
    UNION ALL
    SELECT s.rowid, r_address_shared_with_blocked(), r_address_shared_with_blocked(), 0::UBIGINT, 0::UBIGINT, 0::UBIGINT
    FROM subject s JOIN blocking_person b ON b.person_token = s.person_token WHERE b.accounts > 1 OR b.account_token <> s.account_token
), opposed AS (
    SELECT subject_no, bit_or(google) AS google, bit_or(meta) AS meta, bit_or(kept_google) AS kept_google, bit_or(kept_meta) AS kept_meta,
           bit_or(analysis) AS analysis
    FROM each GROUP BY subject_no
), together AS (
    SELECT coalesce(g.subject_no, o.subject_no) AS subject_no, coalesce(g.signals, 0)::UTINYINT AS signals, coalesce(o.analysis, 0) AS analysis,
           coalesce(g.google, r_consent_missing()) | coalesce(o.google, 0) AS google, coalesce(o.kept_google, 0) AS kept_google,
           coalesce(g.meta, r_consent_missing()) | coalesce(o.meta, 0) AS meta, coalesce(o.kept_meta, 0) AS kept_meta
    FROM granted g FULL JOIN opposed o ON o.subject_no = g.subject_no
)
SELECT subject_no, signals, analysis, google | flag((kept_google & ~google) > 0, r_suppressed()) AS google,
       meta | flag((kept_meta & ~meta) > 0, r_suppressed()) AS meta
FROM together;

-- The answer for every subject and recipient, before any segment is considered. `behaviour`: visits and clicks may be built upon.
CREATE OR REPLACE TABLE answer AS
SELECT s.rowid AS subject_no, s.account_token, s.controller, s.row_no, s.person_token, s.digest_google, s.digest_meta,
       (s.mask & r_vanished()) > 0 AS gone, coalesce(f.signals, 0)::UTINYINT AS signals, s.rowid IN (SELECT subject_no FROM behaviour) AS behaviour,
       coalesce(f.analysis, 0) AS analysis,
       s.mask | flag(s.unusable_google, r_address_invalid()) | coalesce(f.google, r_consent_missing()) AS google,
       s.mask | flag(s.unusable_meta, r_address_invalid()) | coalesce(f.meta, r_consent_missing()) AS meta
FROM subject s LEFT JOIN found f ON f.subject_no = s.rowid;

-- Candidates of each audience, with everything that speaks against them. An account that is gone has no segment reasons.
CREATE OR REPLACE TABLE candidate AS
WITH named AS (
    SELECT account_token, controller, segment, oldest_order IS NULL AS no_order, oldest_site IS NULL AS no_site, coalesce(site_consented, false) AS consented,
           flag(ends(oldest_order, getvariable('order_months')) < getvariable('now'), r_lookback_exceeded())
           | flag(oldest_site + to_days(getvariable('site_days')) < getvariable('now'), r_lookback_exceeded()) AS mask
    FROM member
)
SELECT au.audience_no, a.account_token, a.subject_no, a.row_no, CASE au.recipient WHEN 'google' THEN a.digest_google ELSE a.digest_meta END AS digest,
       a.signals,
       CASE au.recipient WHEN 'google' THEN a.google ELSE a.meta END
       | CASE WHEN a.gone THEN 0::UBIGINT ELSE
           m.mask | flag(au.uses_site AND NOT (m.consented AND a.behaviour), r_behaviour_consent_missing())
           | flag((au.uses_orders AND m.no_order) OR (au.uses_site AND m.no_site), r_malformed()) END
       | flag(au.uses_orders, a.analysis) AS mask
FROM audience au JOIN named m ON m.segment = au.segment AND m.controller = au.controller
JOIN answer a ON a.account_token = m.account_token AND a.controller = m.controller;

-- An account is one candidate of an audience, however often it is named or stands in the store.
CREATE OR REPLACE TABLE named_again AS
SELECT account_token FROM member GROUP BY account_token, segment HAVING count(*) > 1 UNION SELECT account_token FROM twin;
CREATE OR REPLACE TABLE merged AS
SELECT audience_no, account_token, min(subject_no) AS subject_no, min(row_no) AS row_no, min(digest) AS digest, min(signals) AS signals,
       bit_or(mask) AS mask
FROM candidate SEMI JOIN named_again USING (account_token) GROUP BY audience_no, account_token;
DELETE FROM candidate USING named_again n WHERE n.account_token = candidate.account_token;
INSERT INTO candidate SELECT * FROM merged;
