-- The sheets of consent, as they stream in, become rows of `consent`.
INSERT INTO consent
WITH parsed AS (
    SELECT *, clock(occurred_at) AS occurred, clock(recorded_at) AS recorded, whole(source_seq) AS seq, recipient_bits(recipient) AS bits
    FROM consent_stream
)
SELECT account_token, hash(event_id), hash(account_token, controller_id, purpose, recipient, action, occurred_at, recorded_at, source,
                                           source_seq, confirmed, text_version),
       controller_id,
       CASE purpose WHEN 'ad_matching' THEN 1 WHEN 'web_behaviour' THEN 2 WHEN 'enhanced_conversions' THEN 3 WHEN 'order_analysis' THEN 4
            ELSE CASE WHEN among('irrelevant', purpose) THEN 5 ELSE 0 END END,
       CASE WHEN action IN ('grant', 'withdraw') THEN action END, bits,
       occurred, recorded, coalesce(source_number, number_of(source)), source_kind, seq, confirmed = '1', text_no,
       event_id IS NULL OR account_token IS NULL OR controller_id IS NULL OR purpose IS NULL OR bits = 0
       OR coalesce(action, '') NOT IN ('grant', 'withdraw') OR unreadable(occurred_at, occurred) OR recorded IS NULL
       OR source IS NULL OR unreadable(source_seq, seq) OR coalesce(confirmed, '') NOT IN ('0', '1')
FROM parsed;
