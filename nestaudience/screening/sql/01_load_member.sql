-- The sheets of member, as they stream in, become rows of `member`.
INSERT INTO member
SELECT account_token, controller_id, segment_code, clock(oldest_order_at), clock(oldest_site_at), consented_when_collected = '1',
       account_token IS NULL OR unreadable(oldest_order_at, clock(oldest_order_at)) OR unreadable(oldest_site_at, clock(oldest_site_at))
       OR coalesce(consented_when_collected, '0') NOT IN ('0', '1')
FROM member_stream;
