-- The sheets of consent, as they stream in, become rows of `consent`.
INSERT INTO consent
SELECT s.account_token, hash(event_id), hash(s.account_token, controller_id, purpose, recipient, action, occurred_at, recorded_at, s.source,
                                             source_seq, s.confirmed, text_version),
       controller_id,
       CASE purpose WHEN 'ad_matching' THEN 1 WHEN 'web_behaviour' THEN 2 WHEN 'enhanced_conversions' THEN 3 WHEN 'order_analysis' THEN 4
            ELSE CASE WHEN purpose IN (SELECT unnest(getvariable('irrelevant'))) THEN 5 ELSE 0 END END,
       CASE WHEN action IN ('grant', 'withdraw') THEN action END, recipient_bits(recipient),
       clock(occurred_at), clock(recorded_at), coalesce(source_kind.number, number_of(s.source)), source_kind.kind, whole(source_seq), s.confirmed = '1', text.text_no,
       event_id IS NULL OR s.account_token IS NULL OR controller_id IS NULL OR purpose IS NULL OR recipient_bits(recipient) = 0
       OR coalesce(action, '') NOT IN ('grant', 'withdraw') OR unreadable(occurred_at, clock(occurred_at)) OR clock(recorded_at) IS NULL
       OR s.source IS NULL OR unreadable(source_seq, whole(source_seq)) OR coalesce(s.confirmed, '') NOT IN ('0', '1')
FROM consent_stream s LEFT JOIN source_kind ON source_kind.source = s.source LEFT JOIN text ON text.version = s.text_version;
