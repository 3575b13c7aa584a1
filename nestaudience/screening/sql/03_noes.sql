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

-- Whether two are the same no, one of them from memory or from an earlier look.
CREATE OR REPLACE MACRO same_no(a, b) AS
    a.kind = b.kind AND a.bits = b.bits AND a.unclocked = b.unclocked AND a.account_token IS NOT DISTINCT FROM b.account_token
    AND kept_controller(a.controller) IS NOT DISTINCT FROM kept_controller(b.controller) AND a.source IS NOT DISTINCT FROM b.source AND a.seq IS NOT DISTINCT FROM b.seq
    AND (a.unclocked OR (a.occurred = b.occurred AND a.recorded = b.recorded)) AND a.lifted IS NOT DISTINCT FROM b.lifted;
