-- Remembered noes, with tonight's tokens: of the accounts, and of the address wherever it is read again.
CREATE OR REPLACE TABLE recalled AS
WITH alias AS (
    SELECT kept, now FROM older_alias
    UNION SELECT kept_token, person_token FROM subject WHERE own AND kept_token IN (SELECT token FROM remembered)
    UNION SELECT kept_token, address_token FROM rights WHERE kept_token IN (SELECT token FROM remembered)
)
SELECT m.kind, coalesce(owner.now, m.account_token) AS account_token, person.now AS person_token, m.controller, m.bits,
       CASE WHEN m.by_hand AND m.lifted IS NULL THEN 'infinity'::TIMESTAMP WHEN m.occurred IS NULL AND m.recorded IS NULL THEN m.first_seen
            ELSE coalesce(m.occurred, 'infinity'::TIMESTAMP) END AS occurred,
       CASE WHEN m.by_hand AND m.lifted IS NULL THEN 'infinity'::TIMESTAMP WHEN m.occurred IS NULL AND m.recorded IS NULL THEN m.first_seen
            ELSE coalesce(m.recorded, 'infinity'::TIMESTAMP) END AS recorded,
       m.source, m.seq, m.occurred IS NULL AND m.recorded IS NULL AND NOT m.by_hand AS unclocked, m.lifted, min(m.first_seen) AS first_seen
FROM remembered m LEFT JOIN alias person ON person.kept = m.token LEFT JOIN alias owner ON owner.kept = m.account_token
GROUP BY ALL;
