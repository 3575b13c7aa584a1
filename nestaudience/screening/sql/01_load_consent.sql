-- The sheets of consent, as they stream in, become rows of `consent`.
INSERT INTO consent
SELECT s.account_token, hash(event_id), hash(s.account_token, controller_id, purpose, recipient, action, occurred_at, recorded_at, s.source,
                                             source_seq, s.confirmed, text_version),
       controller_id,
       CASE purpose WHEN 'ad_matching' THEN 1 WHEN 'web_behaviour' THEN 2 WHEN 'enhanced_conversions' THEN 3 WHEN 'order_analysis' THEN 4
            ELSE CASE WHEN purpose IN (SELECT unnest(getvariable('irrelevant'))) THEN 5 ELSE 0 END END,
       CASE WHEN action IN ('grant', 'withdraw') THEN action END, recipient_bits(recipient),
       clock(occurred_at), clock(recorded_at), hash(s.source), source_kind.kind, whole(source_seq), s.confirmed = '1', text.text_no
FROM consent_stream s LEFT JOIN source_kind ON source_kind.source = s.source LEFT JOIN text ON text.version = s.text_version;
