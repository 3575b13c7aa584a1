-- Accounts that are judged for a controller that is not their own, or that are no longer there. Nearly everybody is asked for by her own controller,
-- and is left out before the rest is gathered.
INSERT INTO subject
WITH asked AS (
    SELECT account_token, controller, NULL::UUID AS person_token FROM member
    UNION ALL SELECT h.account_token, audience.controller, h.person_token FROM held h JOIN audience USING (audience_no)
), elsewhere AS (
    SELECT asked.account_token, asked.controller, max(asked.person_token) AS person_token
    FROM asked LEFT JOIN subject a ON a.account_token = asked.account_token
    WHERE a.account_token IS NULL OR a.controller IS DISTINCT FROM asked.controller GROUP BY asked.account_token, asked.controller
)
SELECT e.account_token, e.controller, CASE WHEN a.account_token IS NULL THEN e.controller ELSE a.controller END, false, a.row_no,
       coalesce(a.person_token, e.person_token), a.digest_google, a.digest_meta, coalesce(a.unusable_google, false),
       coalesce(a.unusable_meta, false), a.created_at, false,
       CASE WHEN a.account_token IS NULL THEN r_vanished() ELSE a.mask | flag(a.controller IS NOT NULL, r_other_controller()) END, false, NULL
FROM elsewhere e LEFT JOIN subject a ON a.account_token = e.account_token
WHERE a.account_token IS NULL OR a.controller IS DISTINCT FROM e.controller;

-- An account id that stands twice is nobody in particular.
CREATE OR REPLACE TABLE twin AS SELECT account_token FROM subject WHERE own GROUP BY account_token HAVING count(*) > 1;
UPDATE subject SET mask = mask | r_malformed() WHERE account_token IN (SELECT account_token FROM twin);

-- One event id with two contents, which sorting puts side by side: its noes count, nothing else of it.
CREATE OR REPLACE TABLE disputed AS
SELECT DISTINCT 'consent' AS view_name, event
FROM (SELECT event, content, lag(content) OVER (PARTITION BY event ORDER BY content) AS before FROM consent) WHERE content <> before
UNION ALL
SELECT DISTINCT 'rights', event
FROM (SELECT event, content, lag(content) OVER (PARTITION BY event ORDER BY content) AS before FROM rights) WHERE content <> before;

-- An action outside the set makes the account malformed, unless a later, well-formed event of the same source follows.
CREATE OR REPLACE TABLE unclear AS
WITH event_of AS (
    SELECT 'consent' AS view_name, account_token, source, action, recorded FROM consent
    WHERE account_token IN (SELECT account_token FROM consent WHERE action IS NULL)
    UNION ALL
    SELECT 'rights', account_token, source, action, recorded FROM rights
    WHERE account_token IN (SELECT account_token FROM rights WHERE action IS NULL)
)
SELECT DISTINCT e.account_token FROM event_of e
WHERE e.action IS NULL AND NOT EXISTS (
    SELECT 1 FROM event_of later WHERE later.view_name = e.view_name AND later.account_token = e.account_token AND later.source = e.source
                                   AND later.action IS NOT NULL AND later.recorded > e.recorded);
UPDATE subject SET mask = mask | r_malformed() WHERE (mask & r_vanished()) = 0 AND account_token IN (SELECT account_token FROM unclear);
