-- What memory adds to the noes of the store. A no without a usable clock was said when it was first seen; a no that the store still shows for the address
-- is its own. Run only where something is remembered, or known from an earlier look.

-- Where several look the same, nobody can tell which of them was seen first, and none of them is outdone by a clock.
CREATE OR REPLACE TABLE alike AS
SELECT account_token, address_token, controller, source, seq
FROM (SELECT account_token, NULL::UUID AS address_token, controller, source, seq, event, occurred, recorded FROM consent
      WHERE action = 'withdraw' AND purpose <> 5
      UNION ALL SELECT account_token, address_token, controller, source, seq, event, occurred, recorded FROM rights
      WHERE action IN ('object', 'restrict', 'erase', 'close'))
WHERE occurred IS NULL AND recorded IS NULL GROUP BY ALL HAVING count(DISTINCT event) > 1;
UPDATE no_event SET occurred = seen.at, recorded = seen.at
FROM (SELECT n.rowid AS no_no, min(m.recorded) AS at
      FROM no_event n JOIN (SELECT * EXCLUDE (remembered) FROM known_no UNION ALL BY NAME SELECT * EXCLUDE (first_seen) FROM recalled) m
      ON m.unclocked AND m.recorded < 'infinity'::TIMESTAMP AND same_no(n, m) AND (n.account_token IS NOT NULL OR m.person_token = n.person_token)
      WHERE n.unclocked AND NOT EXISTS (
          SELECT 1 FROM alike WHERE alike.account_token IS NOT DISTINCT FROM n.account_token
          AND (n.account_token IS NOT NULL OR alike.address_token = n.person_token) AND alike.controller IS NOT DISTINCT FROM n.controller
          AND alike.source IS NOT DISTINCT FROM n.source AND alike.seq IS NOT DISTINCT FROM n.seq)
      GROUP BY n.rowid) seen
WHERE seen.no_no = no_event.rowid;

-- A store that was not read whole cannot show what outdid a no, so memory judges by nothing then but what no store can end.
INSERT INTO no_event BY NAME
SELECT m.* EXCLUDE (first_seen), true AS remembered FROM recalled m
WHERE (getvariable('read_whole') OR m.occurred = 'infinity'::TIMESTAMP)
  AND (m.person_token IS NOT NULL OR m.account_token IN (SELECT account_token FROM subject)) AND NOT EXISTS (
    SELECT 1 FROM no_event n WHERE same_no(n, m) AND (m.person_token IS NULL OR n.person_token = m.person_token));
