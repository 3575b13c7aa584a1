-- What a text means. A value that does not parse is null; whether that matters is said where it is used.
-- A moment of the store's own is a time where its text would be one.
CREATE OR REPLACE MACRO clock(t VARCHAR) AS
    CASE WHEN regexp_full_match(t, '[12]\d{3}-\d\d-\d\d[T ]([01]\d|2[0-3]):\d\d:\d\d(\.\d{1,6})?(Z|\+00:00)') THEN try_cast(t AS TIMESTAMP) END,
    (t TIMESTAMP) AS CASE WHEN t >= TIMESTAMP '1000-01-01' AND t < TIMESTAMP '3000-01-01' THEN t END;
CREATE OR REPLACE MACRO unreadable(t, value) AS t IS NOT NULL AND value IS NULL;
CREATE OR REPLACE MACRO whole(t) AS CASE WHEN regexp_full_match(t, '-?\d{1,18}') THEN try_cast(t AS BIGINT) END;
CREATE OR REPLACE MACRO flag(condition, reason) AS CASE WHEN coalesce(condition, false) THEN reason ELSE 0::UBIGINT END;
-- True where the variable's list of texts has this one; false for a null. A subquery in its place would be planned as a join.
CREATE OR REPLACE MACRO among(list, t) AS coalesce(list_contains(getvariable(list)::VARCHAR[], t), false);
CREATE OR REPLACE MACRO recipient_bits(t) AS CASE t WHEN 'google' THEN 1 WHEN 'meta' THEN 2 WHEN '*' THEN 4 ELSE 0 END::UTINYINT;

-- Words of the store that memory keeps as a number to compare: the same number for ever, whatever engine made it.
-- A mapped source is numbered once here; a digest for each of its events would cost more than the rest of reading them.
CREATE OR REPLACE MACRO number_of(t) AS md5_number_lower(t);
UPDATE source_kind SET number = number_of(source);

-- A company that nobody configured could be any text, so memory keeps a number in its place.
CREATE OR REPLACE MACRO kept_controller(c) AS
    CASE WHEN c IS NULL OR among('controllers', c) OR regexp_full_match(c, '#\d+') THEN c ELSE '#' || number_of(c) END;

-- An account holder is judged as a customer of one controller. Most rows are an account as its own controller sees it; a few more (step 2)
-- are accounts that another controller's segment names, and accounts that are gone. `kept_token`: the address by the key of what is remembered.
-- `mask` holds the reasons that follow from the account row alone, the same for every recipient. In every table `bad` marks a row with a value that
-- does not parse, is outside its set, or is null where none is allowed: many of them are a fault of the feed.
CREATE OR REPLACE TABLE subject (
    account_token UUID, controller VARCHAR, home VARCHAR, own BOOLEAN, row_no BIGINT, person_token UUID,
    digest_google UUID, digest_meta UUID, unusable_google BOOLEAN, unusable_meta BOOLEAN,
    created_at TIMESTAMP, blocking BOOLEAN, mask UBIGINT, bad BOOLEAN, kept_token UUID
);

-- Consent events, packed: one row an event, words as small numbers, the store's source as a hash to compare and a kind to judge by.
-- purpose: 1 ad_matching, 2 web_behaviour, 3 enhanced_conversions, 4 order_analysis, 5 known and irrelevant, 0 unknown.
CREATE OR REPLACE TABLE consent (
    account_token UUID, event UBIGINT, content UBIGINT, controller VARCHAR, purpose UTINYINT, action ENUM ('grant', 'withdraw'),
    recipient UTINYINT, occurred TIMESTAMP, recorded TIMESTAMP, source UBIGINT, source_kind KIND_OF_SOURCE, seq BIGINT, confirmed BOOLEAN,
    text_no INTEGER, bad BOOLEAN
);

-- Rights events. purpose: 1 ad_matching, 4 order_analysis, 6 '*', 0 anything else. The token of an address that came without an account is made
-- before the row gets here.
CREATE OR REPLACE TABLE rights (
    account_token UUID, address_token UUID, event UBIGINT, content UBIGINT, controller VARCHAR, action VARCHAR, purpose UTINYINT,
    occurred TIMESTAMP, recorded TIMESTAMP, source UBIGINT, source_kind VARCHAR, seq BIGINT, has_case BOOLEAN, bad BOOLEAN, kept_token UUID
);

CREATE OR REPLACE TABLE member (
    account_token UUID, controller VARCHAR, segment VARCHAR, oldest_order TIMESTAMP, oldest_site TIMESTAMP, site_consented BOOLEAN, bad BOOLEAN
);

-- What the lists are held to hold, by account: these people are judged too, whether or not a segment still names them.
CREATE OR REPLACE TABLE held (
    audience_no INTEGER, held_no BIGINT, account_token UUID, person_token UUID, digest UUID, confirmed BOOLEAN, in_flight BOOLEAN,
    removing BOOLEAN, owed BOOLEAN, unanswered BOOLEAN, again BIGINT
);
