-- The one place where companies meet: every no of the group, small beside everything else, with the token of the address that it reaches.
-- A no cannot have been said after it was recorded; one whose recording cannot be read is never outdone.
CREATE OR REPLACE MACRO no_occurred(occurred, recorded) AS
    CASE WHEN recorded IS NULL THEN coalesce(occurred, 'infinity'::TIMESTAMP) ELSE least(coalesce(occurred, recorded), recorded) END;

CREATE OR REPLACE TABLE no_event AS
WITH withdrawal AS (
    SELECT *, no_occurred(occurred, recorded) AS o, coalesce(recorded, 'infinity'::TIMESTAMP) AS r,
           CASE WHEN recipient IN (1, 2) THEN recipient ELSE 3 END::UTINYINT AS bits
    FROM consent WHERE action = 'withdraw' AND purpose <> 5
), told AS (
    SELECT 'withdrawn' AS kind, account_token, NULL::UUID AS address_token, controller, bits, o, r, source, seq FROM withdrawal WHERE purpose IN (0, 1)
    UNION ALL
    SELECT CASE purpose WHEN 2 THEN 'cookies_web' WHEN 3 THEN 'cookies_conversions' ELSE 'cookies_unknown' END,
           account_token, NULL, controller, 3, o, r, source, seq FROM withdrawal WHERE purpose IN (0, 2, 3)
    UNION ALL
    SELECT 'objected_analysis', account_token, NULL, controller, 3, o, r, source, seq FROM withdrawal WHERE purpose = 4
    UNION ALL
    SELECT unnest(CASE WHEN action = 'erase' THEN ['erased'] WHEN action = 'restrict' THEN ['restricted'] WHEN action = 'close' THEN ['closed']
                       WHEN purpose = 1 THEN ['objected'] WHEN purpose = 4 THEN ['objected_analysis']
                       ELSE ['objected', 'objected_analysis'] END),
           account_token, address_token, controller, 3, no_occurred(occurred, recorded), coalesce(recorded, 'infinity'::TIMESTAMP), source, seq
    FROM rights WHERE action IN ('object', 'restrict', 'erase', 'close')
)
SELECT DISTINCT told.kind, told.account_token,
       unnest(CASE WHEN told.address_token <> a.person_token THEN [told.address_token, a.person_token]
                   ELSE [coalesce(told.address_token, a.person_token)] END) AS person_token, told.controller,
       told.bits::UTINYINT AS bits, told.o AS occurred, told.r AS recorded, told.source, told.seq,
       false AS remembered, told.o = 'infinity'::TIMESTAMP AND told.r = 'infinity'::TIMESTAMP AS unclocked, NULL::TIMESTAMP AS lifted
FROM told LEFT JOIN (SELECT account_token, person_token FROM subject WHERE own) a ON a.account_token = told.account_token;

-- What memory adds. A no without a usable clock was said when it was first seen; a no that the store still shows for the address is its own.
CREATE OR REPLACE MACRO same_no(a, b) AS
    a.kind = b.kind AND a.bits = b.bits AND a.unclocked = b.unclocked AND a.account_token IS NOT DISTINCT FROM b.account_token
    AND kept_controller(a.controller) IS NOT DISTINCT FROM kept_controller(b.controller) AND a.source IS NOT DISTINCT FROM b.source AND a.seq IS NOT DISTINCT FROM b.seq
    AND (a.unclocked OR (a.occurred = b.occurred AND a.recorded = b.recorded)) AND a.lifted IS NOT DISTINCT FROM b.lifted;
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
      FROM no_event n JOIN (SELECT * EXCLUDE (remembered) FROM known_no UNION ALL BY NAME SELECT * FROM recalled) m
      ON m.unclocked AND m.recorded < 'infinity'::TIMESTAMP AND same_no(n, m) AND (n.account_token IS NOT NULL OR m.person_token = n.person_token)
      WHERE n.unclocked AND NOT EXISTS (
          SELECT 1 FROM alike WHERE alike.account_token IS NOT DISTINCT FROM n.account_token
          AND (n.account_token IS NOT NULL OR alike.address_token = n.person_token) AND alike.controller IS NOT DISTINCT FROM n.controller
          AND alike.source IS NOT DISTINCT FROM n.source AND alike.seq IS NOT DISTINCT FROM n.seq)
      GROUP BY n.rowid) seen
WHERE seen.no_no = no_event.rowid;
-- A store that was not read whole cannot show what outdid a no, so memory judges by nothing then but what no store can end.
INSERT INTO no_event BY NAME
SELECT m.*, true AS remembered FROM recalled m
WHERE (getvariable('read_whole') OR m.occurred = 'infinity'::TIMESTAMP)
  AND (m.person_token IS NOT NULL OR m.account_token IN (SELECT account_token FROM subject)) AND NOT EXISTS (
    SELECT 1 FROM no_event n WHERE same_no(n, m) AND (m.person_token IS NULL OR n.person_token = m.person_token));

-- Whether a yes outdoes a no: later on both clocks; between events of one account, source and controller the sequence decides alone.
CREATE OR REPLACE MACRO outdoes(y_account, y_source, y_controller, y_seq, y_occurred, y_recorded,
                                n_account, n_source, n_controller, n_seq, n_occurred, n_recorded) AS
    CASE WHEN coalesce(y_account = n_account AND y_source = n_source AND y_controller = n_controller, false)
         THEN CASE WHEN y_seq IS NOT NULL AND n_seq IS NOT NULL THEN y_seq > n_seq
                   ELSE y_occurred > n_occurred AND y_recorded > n_recorded END
         ELSE n_occurred < 'infinity'::TIMESTAMP AND y_occurred > n_occurred + getvariable('skew') AND y_recorded > n_recorded END;
CREATE OR REPLACE MACRO usable(occurred, recorded) AS
    coalesce(occurred <= recorded + getvariable('skew') AND occurred <= getvariable('now') + getvariable('skew')
             AND recorded <= getvariable('now') + getvariable('skew'), false);

-- A restriction ends on the account on which it was made; one that came with an address alone ends the same way.
DELETE FROM no_event WHERE kind = 'restricted' AND EXISTS (
    SELECT 1 FROM rights u WHERE u.action = 'unrestrict' AND usable(u.occurred, u.recorded)
    AND u.event NOT IN (SELECT event FROM disputed WHERE view_name = 'rights')
    AND (u.account_token = no_event.account_token
         OR (u.account_token IS NULL AND no_event.account_token IS NULL AND u.address_token = no_event.person_token))
    AND outdoes(coalesce(u.account_token, u.address_token), u.source, kept_controller(u.controller), u.seq, u.occurred, u.recorded,
                coalesce(no_event.account_token, no_event.person_token), no_event.source, kept_controller(no_event.controller), no_event.seq,
                no_event.occurred, no_event.recorded));

-- Noes that an earlier look has already collected, those of memory among them: the last look brings its own.
INSERT INTO no_event SELECT * FROM known_no EXCEPT SELECT * FROM no_event;
CREATE OR REPLACE TABLE blocking_person AS
SELECT person_token, min(account_token) AS account_token, count(DISTINCT account_token) AS accounts
FROM (SELECT person_token, account_token FROM subject WHERE own AND blocking AND person_token IS NOT NULL
      UNION ALL SELECT person_token, account_token FROM known_blocking) GROUP BY person_token;

-- Whom each no reaches: its own account, and every account with the same address. A closure stays where it is. Where withdrawals are narrowed, one
-- that names no company reaches as if they were not: nobody can say that it was not meant.
CREATE OR REPLACE TABLE reached AS
SELECT DISTINCT s.rowid AS subject_no, n.rowid AS no_no FROM no_event n JOIN subject s ON s.account_token = n.account_token
WHERE n.kind NOT IN ('withdrawn', 'cookies_web', 'cookies_conversions', 'cookies_unknown') OR getvariable('group_wide') OR n.controller IS NULL OR kept_controller(s.home) = kept_controller(n.controller)
UNION
SELECT s.rowid, n.rowid FROM no_event n JOIN subject s ON s.person_token = n.person_token
WHERE n.kind <> 'closed'
  AND (n.kind NOT IN ('withdrawn', 'cookies_web', 'cookies_conversions', 'cookies_unknown') OR getvariable('group_wide') OR n.controller IS NULL OR kept_controller(s.home) = kept_controller(n.controller));
