-- The sheets of rights, as they stream in, become rows of `rights`.
INSERT INTO rights
SELECT s.account_token, s.address_token, hash(event_id), hash(s.account_token, s.address_token, controller_id, action, purpose, occurred_at,
                                                            recorded_at, s.source, source_seq, case_id),
       controller_id,
       CASE WHEN action IN ('object', 'lift_objection', 'restrict', 'unrestrict', 'erase', 'close') THEN action END,
       CASE purpose WHEN 'ad_matching' THEN 1 WHEN 'order_analysis' THEN 4 WHEN '*' THEN 6 ELSE 0 END,
       clock(occurred_at), clock(recorded_at), coalesce(source_kind.number, number_of(s.source)), source_kind.kind, whole(source_seq), coalesce(case_id, '') <> '',
       event_id IS NULL OR controller_id IS NULL OR coalesce(purpose, '') NOT IN ('ad_matching', 'order_analysis', '*')
       OR coalesce(action, '') NOT IN ('object', 'lift_objection', 'restrict', 'unrestrict', 'erase', 'close')
       OR unreadable(occurred_at, clock(occurred_at)) OR clock(recorded_at) IS NULL OR s.source IS NULL
       OR unreadable(source_seq, whole(source_seq)), kept_token
FROM rights_stream s LEFT JOIN source_kind ON source_kind.source = s.source;
