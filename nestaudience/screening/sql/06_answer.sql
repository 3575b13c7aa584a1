-- The answer for every subject and recipient, before any segment is considered.
CREATE OR REPLACE TABLE answer AS
WITH together AS (
    SELECT s.rowid AS subject_no, s.account_token, s.controller, s.row_no, s.person_token, s.digest_google, s.digest_meta,
           (s.mask & r_vanished()) > 0 AS gone, coalesce(c.signals, 0)::UTINYINT AS signals,
           s.mask
           | flag(NOT coalesce(c.asked, false), r_consent_missing())
           | flag(b.accounts > 1 OR b.account_token <> s.account_token, r_address_shared_with_blocked()) AS mask,
           coalesce(c.google, 0) | coalesce(r.google, 0) | flag(k.google, r_suppressed()) | flag(s.unusable_google, r_address_invalid()) AS google,
           coalesce(c.meta, 0) | coalesce(r.meta, 0) | flag(k.meta, r_suppressed()) | flag(s.unusable_meta, r_address_invalid()) AS meta,
           flag(r.analysis, r_analysis_objected()) | flag(r.analysis_suppressed, r_suppressed()) AS analysis
    FROM subject s LEFT JOIN consent_mask c ON c.subject_no = s.rowid LEFT JOIN rights_mask r ON r.subject_no = s.rowid
    LEFT JOIN consent_suppressed k ON k.subject_no = s.rowid LEFT JOIN blocking_person b ON b.person_token = s.person_token
)
SELECT subject_no, account_token, controller, row_no, person_token, digest_google, digest_meta, gone, signals, mask | google AS google, mask | meta AS meta, analysis
FROM together;

-- Candidates of each audience, with everything that speaks against them. An account that is gone has no segment reasons.
CREATE OR REPLACE TABLE candidate AS
SELECT au.audience_no, a.account_token, min(a.subject_no) AS subject_no, min(a.row_no) AS row_no,
       min(CASE WHEN au.recipient = 'google' THEN a.digest_google ELSE a.digest_meta END) AS digest,
       min(a.signals) AS signals,
       bit_or(CASE WHEN au.recipient = 'google' THEN a.google ELSE a.meta END
              | CASE WHEN a.gone THEN 0::UBIGINT ELSE
                  flag(au.uses_site AND (NOT coalesce(m.site_consented, false)
                       OR a.subject_no NOT IN (SELECT subject_no FROM behaviour)), r_behaviour_consent_missing())
                  | flag(m.oldest_order + to_months(getvariable('order_months')) < getvariable('now'), r_lookback_exceeded())
                  | flag(m.oldest_site + to_days(getvariable('site_days')) < getvariable('now'), r_lookback_exceeded())
                  | flag((au.uses_orders AND m.oldest_order IS NULL) OR (au.uses_site AND m.oldest_site IS NULL), r_malformed()) END
              | flag(au.uses_orders, a.analysis)) AS mask
FROM audience au JOIN member m ON m.segment = au.segment AND m.controller = au.controller
JOIN answer a ON a.account_token = m.account_token AND a.controller = m.controller
GROUP BY au.audience_no, a.account_token;
