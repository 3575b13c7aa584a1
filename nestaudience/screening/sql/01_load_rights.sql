-- The sheets of rights, as they stream in, become rows of `rights`.
INSERT INTO rights
WITH parsed AS (
    SELECT *, clock(occurred_at) AS occurred, clock(recorded_at) AS recorded, whole(source_seq) AS seq FROM rights_stream
)
SELECT account_token, address_token, hash(event_id), hash(account_token, address_token, controller_id, action, purpose, occurred_at,
                                                          recorded_at, source, source_seq, case_id),
       controller_id,
       CASE WHEN action IN ('object', 'lift_objection', 'restrict', 'unrestrict', 'erase', 'close') THEN action END,
       CASE purpose WHEN 'ad_matching' THEN 1 WHEN 'order_analysis' THEN 4 WHEN '*' THEN 6 ELSE 0 END,
       occurred, recorded, coalesce(source_number, number_of(source)), source_kind, seq, coalesce(case_id, '') <> '',
       event_id IS NULL OR controller_id IS NULL OR coalesce(purpose, '') NOT IN ('ad_matching', 'order_analysis', '*')
       OR coalesce(action, '') NOT IN ('object', 'lift_objection', 'restrict', 'unrestrict', 'erase', 'close')
       OR unreadable(occurred_at, occurred) OR recorded IS NULL OR source IS NULL OR unreadable(source_seq, seq), kept_token
FROM parsed;
