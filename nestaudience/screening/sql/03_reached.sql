-- Whether a yes outdoes a no: later on both clocks. Between events of one line (one account, controller and source) the sequence decides alone, and
-- without it the clocks need no skew.
CREATE OR REPLACE MACRO outdoes(one_line, y_seq, y_occurred, y_recorded, n_seq, n_occurred, n_recorded) AS
    CASE WHEN coalesce(one_line, false)
         THEN CASE WHEN y_seq IS NOT NULL AND n_seq IS NOT NULL THEN y_seq > n_seq
                   ELSE y_occurred > n_occurred AND y_recorded > n_recorded END
         ELSE n_occurred < 'infinity'::TIMESTAMP AND y_occurred > n_occurred + getvariable('skew') AND y_recorded > n_recorded END;
CREATE OR REPLACE MACRO usable(occurred, recorded) AS
    CASE WHEN occurred <= getvariable('now') + getvariable('skew') AND recorded <= getvariable('now') + getvariable('skew')
              AND (occurred <= recorded OR occurred <= recorded + getvariable('skew')) THEN true ELSE false END;

-- A restriction ends on the account on which it was made; one that came with an address alone ends the same way.
DELETE FROM no_event WHERE kind = 'restricted' AND EXISTS (
    SELECT 1 FROM rights u WHERE u.action = 'unrestrict' AND usable(u.occurred, u.recorded)
    AND u.event NOT IN (SELECT event FROM disputed WHERE view_name = 'rights')
    AND (u.account_token = no_event.account_token
         OR (u.account_token IS NULL AND no_event.account_token IS NULL AND u.address_token = no_event.person_token))
    AND outdoes(u.source = no_event.source AND kept_controller(u.controller) = kept_controller(no_event.controller),
                u.seq, u.occurred, u.recorded, no_event.seq, no_event.occurred, no_event.recorded));

-- Noes that an earlier look has already collected, those of memory among them: the last look brings its own.
INSERT INTO no_event SELECT * FROM known_no EXCEPT SELECT n.* FROM no_event n SEMI JOIN known_no USING (kind);
CREATE OR REPLACE TABLE blocking_person AS
SELECT person_token, min(account_token) AS account_token, count(DISTINCT account_token) AS accounts
FROM (SELECT person_token, account_token FROM subject WHERE own AND blocking AND person_token IS NOT NULL
      UNION ALL SELECT person_token, account_token FROM known_blocking) GROUP BY person_token;

-- Whom each no reaches, with what the no says: its own account, and every account with the same address. A closure stays where it is. Where
-- withdrawals are narrowed, one that names no company reaches as if they were not: nobody can say that it was not meant.
CREATE OR REPLACE MACRO of_consent(kind) AS kind IN ('withdrawn', 'cookies_web', 'cookies_conversions', 'cookies_unknown');
CREATE OR REPLACE TABLE reached AS
WITH touched AS (
    SELECT s.rowid AS subject_no, s.home, s.controller = n.controller AS same_line, n.rowid AS no_no, n.*
    FROM no_event n JOIN subject s ON s.account_token = n.account_token
    UNION ALL
    SELECT s.rowid, s.home, false, n.rowid, n.*
    FROM no_event n JOIN subject s ON s.person_token = n.person_token
    WHERE n.kind <> 'closed' AND NOT coalesce(s.account_token = n.account_token, false)
)
SELECT subject_no, no_no, same_line, kind, bits, occurred, recorded, source, seq, remembered, lifted FROM touched
WHERE NOT of_consent(kind) OR getvariable('group_wide') OR controller IS NULL OR kept_controller(home) = kept_controller(controller);
